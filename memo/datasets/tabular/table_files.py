"""CSV and Parquet files as tables, and messages about those that cannot be read."""

import json
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from memo.artifacts.parquet.parquet_files import ParquetError, read_parquet
from memo.datasets.prepared import DataError
from memo.datasets.tabular.csv_text import CSVError, likely_separator, parsed, text_of
from memo.datasets.tabular.file_kinds import (
    WrongKindError,
    is_parquet_content,
    refuse_other_kinds,
    unpacked,
)

RECORD = ""
"""Name of the column with each record's number in the file, from 1 on; no other column has it."""


@dataclass(frozen=True)
class TableFile:
    """The contents of a file."""

    records: pl.DataFrame
    """The columns, and the number of each record under `RECORD`. Columns of CSV are text without
    spaces around it, null where nothing is left."""
    typed: bool
    """True for Parquet, whose columns have types of their own."""
    blank: int = 0
    """Blank lines of CSV, which are no records."""
    index: tuple[str, ...] = ()
    """Columns that pandas wrote for the index of its data frame."""


def read_table_file(
    path: str, separator: str, header: bool | None = None, sure: bool = True
) -> TableFile:
    """Read the columns of a file.

    Args:
        path: The file: Parquet or CSV, by its first bytes, maybe compressed.
        separator: Character between the fields of a line of CSV.
        header: True where the first line of CSV has names, False where it is a record, None where
            it has names and one that is a number is a mistake.
        sure: True where the user named the separator: others that fit as well are no objection.

    Raises:
        DataError: The file is missing, is no table, or has no header.
    """
    content = _content(path)
    if is_parquet_content(content):
        return _parquet(path, content)
    try:
        found = parsed(text_of(content), separator, header, sure)
    except CSVError as error:
        raise DataError(f"{path}{error}") from None
    numbered = found.fields.clone().insert_column(0, found.numbers.cast(pl.UInt32).alias(RECORD))
    index = _pandas_index({}, found.fields)
    return TableFile(numbered, typed=False, blank=found.blank, index=index)


def guess_separator(path: str) -> str:
    """The likeliest separator of a file of CSV; a comma for others.

    Raises:
        DataError: As of `read_table_file`.
    """
    content = _content(path)
    if is_parquet_content(content):
        return ","
    try:
        return likely_separator(text_of(content))
    except CSVError as error:
        raise DataError(f"{path}{error}") from None


def _content(path: str) -> bytes:
    file = Path(path)
    try:
        if not file.is_file():
            raise DataError(f"{path}: no such file" + " (it is a folder)" * file.is_dir())
        content = unpacked(file.read_bytes())
        if not is_parquet_content(content):
            refuse_other_kinds(content)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except WrongKindError as error:
        raise DataError(f"{path}: {error}") from None
    if content and not is_parquet_content(content) and file.suffix == ".parquet":
        raise DataError(f"{path}: is not a whole Parquet file: it does not begin as one does")
    return content


def _parquet(path: str, content: bytes) -> TableFile:
    try:
        table, facts = read_parquet(content)
    except ParquetError as error:
        raise DataError(f"{path}: is not a whole Parquet file: {error!s:.200}") from None
    if RECORD in table.columns:
        name = f"Unnamed: {table.columns.index(RECORD)}"
        if name in table.columns:
            raise DataError(f"{path}: one column has no name, and another is named {name!r}")
        table = table.rename({RECORD: name})
    return TableFile(table.with_row_index(RECORD, 1), typed=True, index=_pandas_index(facts, table))


def _pandas_index(facts: dict[str, str], table: pl.DataFrame) -> tuple[str, ...]:
    """Columns that the metadata of pandas says are the index."""
    try:
        named = json.loads(facts["pandas"])["index_columns"]
        found = [name for name in named if isinstance(name, str) and name in table.columns]
    except (KeyError, ValueError, TypeError):
        found = []
    also = [name for name in table.columns if name.startswith("__index_level_")]
    return tuple(dict.fromkeys([*found, *also]))
