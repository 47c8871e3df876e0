"""Tables of records: which columns are numbers, which are categories, and what is missing."""

import difflib
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.datasets.prepared import DataError, Prepared, named_observations
from memo.datasets.tabular.columns import Column, encoded, log_jacobian
from memo.datasets.tabular.table_files import RECORD, is_parquet, read_table_file
from memo.spec.dataset_specs import TableSpec

MOST_CATEGORIES = 256
"""Most categories of a column; columns with more texts are hardly categorical."""

RESOLUTION = 1e-3
"""Fraction of a column's standard deviation that float32 must resolve."""

TOLERANCE = 1e-6
"""Fraction of a step by which a rounded number may miss a multiple of the step."""

LARGEST = 1e100
"""Largest size of a number; squares of larger ones and their sums may overflow."""

PLACES = 1024
"""Positions within a step at which noise may fall."""

Values: TypeAlias = NDArray[np.float64] | NDArray[np.int64]


def read_records(spec: TableSpec) -> Prepared:
    """Records of a file as vectors, with the columns that the vectors are made of.

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
    read = [_column(_Source(spec, table, name)) for name in _modelled(spec, table.columns)]
    columns = [one.column for one in read]
    with np.errstate(all="ignore"):
        scored = encoded(columns, [one.values for one in read])
        given = encoded(columns, [one.given for one in read]) if spec.dequantize else None
        _check_resolution(spec, table, columns, scored)
    ids = _ids(spec, table).to_list()
    labels = [None] * len(table)
    if spec.label is not None:
        labels = _Source(spec, table, spec.label).texts().to_list()
    return Prepared(
        scored=scored,
        observations=named_observations(ids, labels),
        given=given,
        log_jacobian=np.full(len(table), log_jacobian(columns)) if spec.standardize else None,
        columns=columns,
        facts={
            "source": f"table {spec.path}",
            "columns": {one.column.name: _in_words(one.column, one.imputed) for one in read},
            "imputed": {one.column.name: one.imputed for one in read if one.imputed},
        },
    )


@dataclass(frozen=True)
class _Source:
    """A column as the file has it."""

    spec: TableSpec
    table: pl.DataFrame
    name: str

    @property
    def series(self) -> pl.Series:
        """Values of the column."""
        return self.table[self.name]

    def texts(self) -> pl.Series:
        """Values as text, null where they are missing; booleans as `true` and `false`.

        Raises:
            DataError: The column has values of another type.
        """
        series = self.series
        if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object):
            raise self.unusable()
        texts = series.cast(pl.String).str.strip_chars()
        missing = texts.is_in([*self.spec.missing_values, ""])
        if series.dtype.is_float():
            missing |= series.is_nan()
        return texts.zip_with(~missing.fill_null(True), pl.Series([None], dtype=pl.String))

    def error(self, message: str, row: int | None = None) -> DataError:
        """An error about the column, or about its value in a row."""
        record = "" if row is None else f", record {self.table[RECORD][int(row)]}"
        return DataError(f"{self.spec.path}: column {self.name!r}{record}: {message}")

    def unusable(self) -> DataError:
        """An error about the type of the column."""
        return self.error(
            f"is of type {self.series.dtype}, but only numbers, text and booleans can be used; "
            "name it under `drop`"
        )

    def constant(self, value: Any) -> DataError:
        """An error about a column with a single value."""
        return self.error(
            f"is {_short(value)} in all {len(self.table):,} records, and says nothing about any; "
            "name it under `drop`"
        )


@dataclass(frozen=True)
class _Read:
    """A column, and its value in each record."""

    column: Column
    values: Values
    """(n,): numbers, or positions in the column's categories."""
    given: Values
    """(n,): the same before noise was added to rounded numbers."""
    imputed: int


def _modelled(spec: TableSpec, names: list[str]) -> list[str]:
    """Names of the columns that are modelled.

    Raises:
        DataError: The spec names a column that is not there, or leaves none.
    """
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


def _column(source: _Source) -> _Read:
    spec, series = source.spec, source.series
    numeric = series.dtype.is_numeric()
    categorical = source.name in spec.categorical
    if numeric and not categorical:
        return _number(source, series.cast(pl.Float64).fill_nan(None))
    texts = source.texts()
    if not categorical and not is_parquet(spec.path):
        numbers = texts.cast(pl.Float64, strict=False)
        wrong = (numbers.is_null() & texts.is_not_null()).arg_true()
        if len(texts) > texts.null_count() and not len(wrong):
            return _number(source, numbers)
        if numbers.null_count() < len(numbers):
            raise source.error(
                f"{_short(texts[wrong[0]])} is not a number, but other values of the column are; "
                "name the column under `categorical`, or the text under `missing_values`",
                wrong[0],
            )
    if series.dtype.is_temporal():
        raise source.unusable()
    return _category(source, texts)


def _number(source: _Source, series: pl.Series) -> _Read:
    _check_missing(source, series)
    beyond = (series.abs() > LARGEST).fill_null(False).arg_true()
    if len(beyond):
        found = series[beyond[0]]
        size = "infinite" if np.isinf(found) else f"{found:.6g}, beyond {LARGEST:.0e}"
        raise source.error(f"is {size}", beyond[0])
    values = series.fill_null(float(np.median(series.drop_nulls()))).to_numpy()
    if values.min() == values.max():
        raise source.constant(values[0])
    given, step = values, source.spec.dequantize.get(source.name)
    if step is not None:
        values = _dequantized(source, values, step)
    mean, scale = _moments(values) if source.spec.standardize else (0.0, 1.0)
    return _Read(Column(source.name, None, mean, scale, step), values, given, series.null_count())


def _category(source: _Source, texts: pl.Series) -> _Read:
    name = source.name
    if name in source.spec.dequantize:
        raise source.error("is under `dequantize`, but has categories and no numbers")
    _check_missing(source, texts)
    counts = texts.drop_nulls().value_counts().sort(["count", name], descending=[True, False])
    names = sorted(counts[name])
    if len(names) == 1:
        raise source.constant(names[0])
    if len(names) == len(texts):
        raise source.error(
            f"has another text in each of the {len(texts):,} records, as an identifier has; name "
            "it under `id` or `drop`"
        )
    if len(names) > MOST_CATEGORIES:
        raise source.error(
            f"has {len(names):,} different texts, more than the {MOST_CATEGORIES} that a column "
            "of categories may have; name it under `id`, `label` or `drop`"
        )
    position = {category: position for position, category in enumerate(names)}
    full = texts.fill_null(counts[name][0])
    values = np.array([position[text] for text in full], np.int64)
    return _Read(Column(name, tuple(names)), values, values, texts.null_count())


def _check_missing(source: _Source, series: pl.Series) -> None:
    missing = series.is_null().arg_true()
    if len(missing) == len(series):
        raise source.error("has no values")
    if len(missing) and source.spec.missing == "refuse":
        others = f", nor have {len(missing) - 1:,} others" if len(missing) > 1 else ""
        raise source.error(
            f"has no value{others}; `missing: impute` fills {'them' if others else 'it'} in, "
            "`drop` leaves the column out",
            missing[0],
        )


def _dequantized(source: _Source, values: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Add uniform noise as wide as the step, from a stream of the column's own.

    The noise falls on the middles of `PLACES` parts of the step, so that rounding to float32
    carries no value into the next step.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        steps = values / step
    beside = np.flatnonzero(~(np.abs(steps - np.rint(steps)) <= TOLERANCE))
    if len(beside):
        raise source.error(
            f"{values[beside[0]]:.6g} is not a multiple of {step:.6g}, which `dequantize` says "
            "that it was rounded to",
            beside[0],
        )
    seed = np.random.SeedSequence(source.spec.seed, spawn_key=(*source.name.encode(),))
    noise = (np.random.default_rng(seed).integers(PLACES, size=len(values)) + 0.5) / PLACES - 0.5
    return values + step * noise


def _moments(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation, the latter without squares that underflow."""
    mean = values.mean()
    offsets = values - mean
    largest = np.abs(offsets).max()
    return float(mean), float(largest * np.sqrt(np.square(offsets / largest).mean()))


def _check_resolution(
    spec: TableSpec, table: pl.DataFrame, columns: list[Column], scored: NDArray[np.float32]
) -> None:
    """See that float32 keeps the digits in which a column's numbers differ."""
    numbers = [column for column in columns if column.categories is None]
    for column, values in zip(numbers, scored.T, strict=False):
        spread = _moments(values.astype(np.float64))[1]
        if not np.spacing(np.abs(values).max()) <= RESOLUTION * spread:
            raise _Source(spec, table, column.name).error(
                "its numbers differ by too little for their size; `standardize: true`, or another "
                "unit, keeps their digits"
            )


def _ids(spec: TableSpec, table: pl.DataFrame) -> pl.Series:
    record = table[RECORD]
    if spec.id is None:
        return "record " + record.cast(pl.String)
    source = _Source(spec, table, spec.id)
    ids = source.texts()
    missing = ids.is_null().arg_true()
    if len(missing):
        raise source.error("has no id", missing[0])
    again = ids.is_first_distinct().not_().arg_true()
    if len(again):
        name = ids[again[0]]
        first = record[(ids == name).arg_true()[0]]
        raise source.error(
            f"records {first} and {record[again[0]]} have the same id {_short(name)}"
        )
    return ids


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
