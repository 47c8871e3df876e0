"""A table of records: which columns are numbers, which are categories, and what is missing."""

import difflib
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.datasets.prepared import DataError, Prepared
from memo.datasets.tabular.columns import Column, encoded, log_jacobian
from memo.datasets.tabular.table_files import RECORD, is_parquet, read_table_file
from memo.spec.dataset_specs import TableSpec

__all__ = ["prepare_table"]

MOST_CATEGORIES = 256
"""A column of more is hardly one of categories."""

RESOLUTION = 1e-3
"""Share of a column's standard deviation that float32 must resolve."""

TOLERANCE = 1e-6
"""Share of a step by which a rounded number may miss a multiple of it."""

LARGEST = 1e100
"""Beyond it squares and their sums may overflow."""

PLACES = 1024
"""Places within a step that noise may fall on."""


def prepare_table(spec: TableSpec) -> Prepared:
    """Records of a file as vectors, with the columns that they are made of.

    Raises:
        DataError: The file is not a table, a column is not what the spec says, or a value is
            missing, infinite, or of another type than the rest of its column.
    """
    table = read_table_file(spec.path, spec.separator)
    if len(table) < 2:
        raise DataError(
            f"{spec.path}: has {len(table) or 'no'} record{'s' * (not len(table))}; memorization "
            "is measured on two or more"
        )
    read = [_column(spec, table, name) for name in _modelled(spec, table.columns)]
    columns = [one.column for one in read]
    with np.errstate(all="ignore"):
        scored = encoded(columns, [one.values for one in read])
        _check_resolution(spec, columns, scored)
    return Prepared(
        scored=scored,
        observations=pl.DataFrame(
            {
                "index": range(len(table)),
                "id": _ids(spec, table),
                "label": _labels(spec, table),
            },
            schema_overrides={"label": pl.String},
        ),
        log_jacobian=np.full(len(table), log_jacobian(columns)) if spec.standardize else None,
        columns=columns,
        facts={
            "source": f"table {spec.path}",
            "columns": {one.column.name: _in_words(one.column, one.imputed) for one in read},
            "imputed": {one.column.name: one.imputed for one in read if one.imputed},
        },
    )


Values: TypeAlias = NDArray[np.float64] | NDArray[np.int64]


@dataclass(frozen=True)
class _Read:
    column: Column
    values: Values
    """(n,): numbers, or places in the column's categories."""
    imputed: int


def _modelled(spec: TableSpec, names: list[str]) -> list[str]:
    """Names of the columns that are modelled, once all that the spec names are seen to exist."""
    known = [name for name in names if name != RECORD]
    aside = [name for name in (spec.id, spec.label) if name is not None]
    chosen = spec.columns or []
    for name in (*aside, *chosen, *spec.drop, *spec.categorical, *spec.dequantize):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise DataError(
                f"{spec.path}: has no column {name!r}{hint} (columns: "
                f"{', '.join(map(repr, known)):.300})"
            )
    modelled = chosen or [name for name in known if name not in (*aside, *spec.drop)]
    if not modelled:
        raise DataError(f"{spec.path}: no column is left to be modelled")
    return modelled


def _column(spec: TableSpec, table: pl.DataFrame, name: str) -> _Read:
    series = table[name]
    where = f"{spec.path}: column {name!r}"
    if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object):
        raise _unusable(where, series)
    if series.dtype.is_numeric() and name not in spec.categorical:
        numbers = series.cast(pl.Float64).fill_nan(None)
        return _number(spec, table[RECORD], where, numbers)
    texts = _texts(spec, series)
    if name not in spec.categorical and not is_parquet(spec.path):
        numbers = texts.cast(pl.Float64, strict=False)
        wrong = (numbers.is_null() & texts.is_not_null()).arg_true()
        if len(texts) > texts.null_count() and not len(wrong):
            return _number(spec, table[RECORD], where, numbers)
        if numbers.null_count() < len(numbers):
            raise DataError(
                f"{where}, record {table[RECORD][wrong[0]]}: {_short(texts[wrong[0]])} is not a "
                "number, but other values of the column are; name the column under `categorical`, "
                "or the text under `missing_values`"
            )
    if series.dtype.is_temporal():
        raise _unusable(where, series)
    return _category(spec, table[RECORD], where, texts)


def _texts(spec: TableSpec, series: pl.Series) -> pl.Series:
    """Values as text, null where they are missing; booleans as `true` and `false`."""
    texts = series.cast(pl.String).str.strip_chars()
    missing = texts.is_in([*spec.missing_values, ""])
    if series.dtype.is_float():
        missing |= series.is_nan()
    return texts.zip_with(~missing.fill_null(True), pl.Series([None], dtype=pl.String))


def _number(spec: TableSpec, record: pl.Series, where: str, series: pl.Series) -> _Read:
    known = series.drop_nulls().to_numpy()
    _check_missing(spec, record, where, series)
    beyond = (series.abs() > LARGEST).fill_null(False).arg_true()
    if len(beyond):
        found = series[beyond[0]]
        size = "infinite" if np.isinf(found) else f"{found:.6g}, beyond {LARGEST:.0e}"
        raise DataError(f"{where}, record {record[beyond[0]]}: is {size}")
    values = series.fill_null(float(np.median(known))).to_numpy()
    if values.min() == values.max():
        raise _constant(where, values[0], len(values))
    step = spec.dequantize.get(series.name)
    if step is not None:
        values = _dequantized(spec, record, where, values, step, series.name)
    mean, scale = _moments(values) if spec.standardize else (0.0, 1.0)
    return _Read(Column(series.name, None, mean, scale, step), values, series.null_count())


def _category(spec: TableSpec, record: pl.Series, where: str, texts: pl.Series) -> _Read:
    name = texts.name
    if name in spec.dequantize:
        raise DataError(f"{where}: is under `dequantize`, but has categories and no numbers")
    _check_missing(spec, record, where, texts)
    counts = texts.drop_nulls().value_counts().sort(["count", name], descending=[True, False])
    names = sorted(counts[name])
    if len(names) == 1:
        raise _constant(where, names[0], len(texts))
    if len(names) == len(texts):
        raise DataError(
            f"{where}: has another text in each of the {len(texts):,} records, as an identifier "
            "has; name it under `id` or `drop`"
        )
    if len(names) > MOST_CATEGORIES:
        raise DataError(
            f"{where}: has {len(names):,} different texts, more than the {MOST_CATEGORIES} that a "
            "column of categories may have; name it under `id`, `label` or `drop`"
        )
    place = {category: place for place, category in enumerate(names)}
    full = texts.fill_null(counts[name][0])
    values = np.array([place[text] for text in full], np.int64)
    return _Read(Column(name, tuple(names)), values, texts.null_count())


def _check_missing(spec: TableSpec, record: pl.Series, where: str, series: pl.Series) -> None:
    missing = series.is_null().arg_true()
    if len(missing) == len(series):
        raise DataError(f"{where}: has no values")
    if len(missing) and spec.missing == "refuse":
        raise DataError(
            f"{where}, record {record[missing[0]]}: has no value, nor have {len(missing) - 1:,} "
            "others; `missing: impute` fills them in, `drop` leaves the column out"
            if len(missing) > 1
            else f"{where}, record {record[missing[0]]}: has no value; `missing: impute` fills it "
            "in, `drop` leaves the column out"
        )


def _dequantized(
    spec: TableSpec,
    record: pl.Series,
    where: str,
    values: NDArray[np.float64],
    step: float,
    name: str,
) -> NDArray[np.float64]:
    """Uniform noise of a step's width, in a stream of the column's own.

    It falls on the middles of `PLACES` parts of the step, so that float32 does not carry any over
    into the next step.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        steps = values / step
    beside = np.flatnonzero(~(np.abs(steps - np.rint(steps)) <= TOLERANCE))
    if len(beside):
        raise DataError(
            f"{where}, record {record[int(beside[0])]}: {values[beside[0]]:.6g} is not a multiple "
            f"of {step:.6g}, which `dequantize` says that it was rounded to"
        )
    stream = np.random.default_rng(np.random.SeedSequence(spec.seed, spawn_key=(*name.encode(),)))
    noise = (stream.integers(PLACES, size=len(values)) + 0.5) / PLACES - 0.5
    return values + step * noise


def _moments(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation, the latter without squares that vanish."""
    mean = values.mean()
    offsets = values - mean
    largest = np.abs(offsets).max()
    return float(mean), float(largest * np.sqrt(np.square(offsets / largest).mean()))


def _check_resolution(spec: TableSpec, columns: list[Column], scored: NDArray[np.float32]) -> None:
    """Scored values are float32: numbers far from zero may have lost the digits that differ."""
    numbers = [column for column in columns if column.categories is None]
    for column, values in zip(numbers, scored.T, strict=False):
        spread = _moments(values.astype(np.float64))[1]
        if not np.spacing(np.abs(values).max()) <= RESOLUTION * spread:
            raise DataError(
                f"{spec.path}: column {column.name!r}: its numbers differ by too little for their "
                "size; `standardize: true`, or another unit, keeps their digits"
            )


def _ids(spec: TableSpec, table: pl.DataFrame) -> pl.Series:
    record = table[RECORD]
    if spec.id is None:
        return "record " + record.cast(pl.String)
    where = f"{spec.path}: column {spec.id!r}"
    ids = _names(spec, table, spec.id)
    missing = ids.is_null().arg_true()
    if len(missing):
        raise DataError(f"{where}, record {record[missing[0]]}: has no id")
    again = ids.is_first_distinct().not_().arg_true()
    if len(again):
        name = ids[again[0]]
        first = record[(ids == name).arg_true()[0]]
        raise DataError(
            f"{where}: records {first} and {record[again[0]]} have the same id {_short(name)}"
        )
    return ids


def _labels(spec: TableSpec, table: pl.DataFrame) -> pl.Series:
    if spec.label is None:
        return pl.Series([None] * len(table), dtype=pl.String)
    return _names(spec, table, spec.label)


def _names(spec: TableSpec, table: pl.DataFrame, name: str) -> pl.Series:
    series = table[name]
    if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object):
        raise _unusable(f"{spec.path}: column {name!r}", series)
    return _texts(spec, series)


def _unusable(where: str, series: pl.Series) -> DataError:
    return DataError(
        f"{where}: is of type {series.dtype}, but only numbers, text and booleans can be used; "
        "name it under `drop`"
    )


def _constant(where: str, value: Any, count: int) -> DataError:
    return DataError(
        f"{where}: is {_short(value)} in all {count:,} records, and says nothing about any; name "
        "it under `drop`"
    )


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else f"{value:.6g}"
    return text if len(text) <= 40 else f"{text[:37]}..."


def _in_words(column: Column, imputed: int) -> str:
    if column.categories is not None:
        words = f"{len(column.categories)} categories"
    elif (column.mean, column.scale) == (0, 1):
        words = "number, as it is"
    else:
        words = f"number, mean {column.mean:.6g}, standard deviation {column.scale:.6g}"
    rounded = "" if column.step is None else f", rounded to {column.step:.6g}"
    return words + rounded + (f", {imputed:,} imputed" if imputed else "")
