"""Tables of log-likelihoods that come from elsewhere: read as if each value could be wrong."""

import difflib
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from memo.artifacts.files import ArtifactError, read_whole
from memo.artifacts.parquet.parquet_files import ParquetError, read_parquet
from memo.artifacts.tables import LONGEST_TEXT
from memo.artifacts.text.csv_files import unquoted
from memo.errors import InputError

LARGEST = 1e15
"""Nats beyond which a double has no fractions left."""

PARQUET = b"PAR1"
"""First bytes of a Parquet file, whatever its name."""

COMPRESSED = (
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd",
    b"PK\x03\x04",
    b"\xd0\xcf\x11\xe0",
)

REQUIRED = ("model", "in_training", "log_likelihood")
TEXT = {"model", "id", "block"}
OF_TARGET = ("log_likelihood", "index", "id")
"""Columns of a table of one model; the first is required."""
OF_DESIGN = ("model", "index", "id", "in_training", "block")
"""Columns of a table of training sets; the first is required."""
ALLOWED = (*REQUIRED, "index", "id", "epoch", "std_error", "unreliable", "block")


def read_likelihoods(file: Path) -> pl.DataFrame:
    """A user's CSV or Parquet table of log-likelihoods, each column of one type.

    Args:
        file: One row for each model, observation and epoch; columns as docs/likelihoods.md says.

    Returns:
        `row` (1 is the first below the header), `model`, `in_training`, `log_likelihood`,
        `std_error` and `epoch` (0 and 1 where the table has none), `unreliable`; of `index`, `id`
        and `block` those that the table has. No value is missing, NaN or infinite, no model,
        observation and epoch is there twice, and each model is in one block.

    Raises:
        InputError: The table cannot be read, or a value is wrong: names file, row and column.
    """
    raw = _read(file)
    _check_columns(file, raw.columns, ALLOWED, REQUIRED)
    if raw.is_empty():
        raise InputError(f"{file}: has no rows")
    converted = {name: _converted(file, raw[name]) for name in raw.columns}
    defaults = {"std_error": 0.0, "epoch": 1, "unreliable": False}
    result = (
        pl.DataFrame(converted)
        .with_columns(pl.lit(v).alias(n) for n, v in defaults.items() if n not in converted)
        .with_row_index("row", offset=1)
        .with_columns(pl.col("epoch").cast(pl.Int64))
    )
    _check_signs(file, result)
    _check_once(file, result)
    return result


def read_target(file: Path) -> pl.DataFrame:
    """A user's CSV or Parquet table of log-likelihoods under one model.

    Args:
        file: One row for each observation: `index` or `id`, or both, and `log_likelihood`.

    Returns:
        `row` (1 is the first below the header), `log_likelihood`, and of `index` and `id` those
        that the table has. No value is missing, NaN or infinite, and no observation there twice.

    Raises:
        InputError: The table cannot be read, or a value is wrong: names file, row and column.
    """
    raw = _read(file)
    _check_columns(file, raw.columns, OF_TARGET, OF_TARGET[:1])
    if raw.is_empty():
        raise InputError(f"{file}: has no rows")
    converted = {name: _converted(file, raw[name]) for name in raw.columns}
    result = pl.DataFrame(converted).with_row_index("row", offset=1)
    _check_signs(file, result)
    for name in {"index", "id"} & set(raw.columns):
        again = result.filter(~pl.col(name).is_first_distinct())
        if len(again):
            row = again.row(0, named=True)
            raise wrong_row(file, row["row"], name, f"{row[name]!r:.60} is there twice")
    return result


def read_training_sets(file: Path) -> pl.DataFrame:
    """A user's CSV or Parquet table of the observations that models were trained on.

    Args:
        file: One row for each model and observation: `model`, `index` or `id`, or both; maybe
            `in_training` and `block`.

    Returns:
        `row` (1 is the first below the header), `model`; of the others those that the table has.
        No value is missing, no model and observation there twice, each model is in one block.

    Raises:
        InputError: The table cannot be read, or a value is wrong: names file, row and column.
    """
    raw = _read(file)
    _check_columns(file, raw.columns, OF_DESIGN, OF_DESIGN[:1])
    if raw.is_empty():
        raise InputError(f"{file}: has no rows")
    converted = {name: _converted(file, raw[name]) for name in raw.columns}
    result = pl.DataFrame(converted).with_row_index("row", offset=1)
    _check_signs(file, result)
    _check_once(file, result)
    return result


def wrong_row(file: Path, row: int, column: str, what: str) -> InputError:
    """The error that names a value of a table."""
    return InputError(f"{file}: row {row}, column {column!r}: {what}")


def _read(file: Path) -> pl.DataFrame:
    try:
        content = read_whole(file)
    except ArtifactError as error:
        raise InputError(str(error)) from None
    if content.startswith(COMPRESSED):
        raise InputError(f"{file}: is compressed, or an archive or a workbook; give CSV or Parquet")
    try:
        if not content.startswith(PARQUET):
            table = pl.read_csv(content, infer_schema=False)
            return table.with_columns(map(unquoted, table.select(TEXT & set(table.columns))))
        return read_parquet(content)[0]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ParquetError) as error:
        reason = (str(error).splitlines() or ["it is damaged"])[0]
        raise InputError(f"{file}: is not a table: {reason}") from None


def _check_columns(
    file: Path, columns: list[str], allowed: Sequence[str], required: Sequence[str]
) -> None:
    for name in columns:
        if name not in allowed:
            raise InputError(
                f"{file}: column {name!r:.80} is not known{_cure(name, allowed)} (known: "
                f"{', '.join(allowed)})"
            )
    missing = [name for name in required if name not in columns]
    if missing:
        raise InputError(f"{file}: has no column {', '.join(map(repr, missing))}")
    if not {"index", "id"} & set(columns):
        raise InputError(f"{file}: has neither a column 'index' nor 'id'")


def _cure(name: str, allowed: Sequence[str]) -> str:
    """Advise on a column that is not known; empty where nothing comes to mind."""
    if name in ("", "Unnamed: 0", "__index_level_0__"):
        return "; it seems to be pandas' row numbers: write the table with `index=False`"
    if any(mark in name for mark in ";\t|"):
        return "; fields must be separated by commas"
    near = difflib.get_close_matches(name, allowed, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _converted(file: Path, column: pl.Series) -> pl.Series:
    """The column in its type; every value is there, and finite."""
    name = column.name
    if column.dtype.is_nested() or column.dtype in (pl.Object, pl.Binary):
        raise InputError(f"{file}: column {name!r} holds {column.dtype}, not single values")
    plain = column.cast(pl.String) if not column.dtype.is_numeric() else column
    if plain.dtype == pl.String:
        plain = plain.str.strip_chars().replace("", None)
    _refuse(file, column, plain.is_null(), "empty")
    match name:
        case "model" | "id" | "block":
            text = (column if name == "id" else plain).cast(pl.String)
            _refuse(
                file, text, text.str.len_chars() > LONGEST_TEXT, f"over {LONGEST_TEXT} characters"
            )
            return text
        case "in_training" | "unreliable":
            result, what = _booleans(plain), "neither true nor false"
        case "index" | "epoch":
            result, what = _integers(plain), "not a whole number"
        case _:
            result, what = plain.cast(pl.Float64, strict=False), "not a number"
    _refuse(file, column, result.is_null(), what)
    if result.dtype == pl.Float64:
        _refuse(file, column, ~result.is_finite(), "not a finite number")
        _refuse(file, column, result.abs() > LARGEST, f"beyond {LARGEST:g}")
    return result


def _booleans(values: pl.Series) -> pl.Series:
    words = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
    text = values.cast(pl.String).str.to_lowercase()
    return text.replace_strict(words, default=None, return_dtype=pl.Boolean)


def _integers(values: pl.Series) -> pl.Series:
    whole = values.cast(pl.Int64, strict=False)
    if values.dtype.is_float():
        return whole.set(whole.cast(values.dtype) != values, None)
    return whole


def _refuse(file: Path, column: pl.Series, wrong: pl.Series, what: str) -> None:
    if wrong.any():
        row = int(wrong.arg_true()[0])
        value = column[row]
        shown = "is " if value is None else f"{value!r:.60} is "
        raise wrong_row(file, row + 1, column.name, f"{shown}{what}")


def _check_signs(file: Path, table: pl.DataFrame) -> None:
    for name in ("std_error", "epoch", "index"):
        if name in table.columns:
            _refuse(file, table[name], table[name] < 0, "negative")


def _check_once(file: Path, table: pl.DataFrame) -> None:
    """A model says one thing of an observation at an epoch; an index has one id."""
    names = [name for name in ("index", "id") if name in table.columns]
    epoch = ["epoch"] if "epoch" in table.columns else []
    again = table.filter(~pl.struct("model", names[0], *epoch).is_first_distinct())
    if len(again):
        row = again.row(0, named=True)
        at = f" at epoch {row['epoch']}" if epoch else ""
        words = f"model {row['model']!r:.60} has {row[names[0]]!r:.60}{at} twice"
        raise wrong_row(file, row["row"], names[0], words)
    if epoch:
        _check_one(file, table, ["model", names[0]], "in_training")
    if len(names) > 1:
        _check_one(file, table, ["index"], "id")
    if "block" in table.columns:
        _check_one(file, table, ["model"], "block")


def _check_one(file: Path, table: pl.DataFrame, of: list[str], column: str) -> None:
    """There is one value of a column for each of others."""
    values = table.unique([*of, column], keep="first", maintain_order=True)
    again = values.filter(~pl.struct(of).is_first_distinct())
    if len(again):
        row = again.row(0, named=True)
        whose = ", ".join(f"{name} {row[name]!r:.60}" for name in of)
        raise wrong_row(file, row["row"], column, f"{row[column]!r:.60} is a second one of {whose}")
