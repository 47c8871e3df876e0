"""CSV and Parquet files as tables, and messages about those that cannot be read."""

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from memo.artifacts.parquet.parquet_files import ParquetError, read_parquet
from memo.datasets.prepared import DataError

RECORD = ""
"""Name of the column with each record's number in the file, from 1 on; no other column has it."""


def read_table_file(path: str, separator: str) -> pl.DataFrame:
    """Columns of a file, and the number of each record under `RECORD`.

    Columns of CSV are text without spaces around it, null where nothing is left. Records without
    any value, such as blank lines, are left out.

    Args:
        path: The file; Parquet where its name ends in `.parquet`, else CSV.
        separator: Character between the fields of a line of CSV.

    Raises:
        DataError: The file is missing, is not what its name says, or has no header.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"{path}: no such file")
    try:
        table = _parquet(path) if is_parquet(path) else _csv(path, separator)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    numbered = table.with_row_index(RECORD, 1)
    return numbered.filter(~pl.all_horizontal(pl.exclude(RECORD).is_null()))


def is_parquet(path: str) -> bool:
    """True where the name is that of a Parquet file, whose columns have types."""
    return Path(path).suffix == ".parquet"


def _parquet(path: str) -> pl.DataFrame:
    try:
        table, _ = read_parquet(Path(path).read_bytes())
    except ParquetError as error:
        raise DataError(f"{path}: is not a whole Parquet file: {error!s:.200}") from None
    _check_names(path, table.columns)
    return table


def _csv(path: str, separator: str) -> pl.DataFrame:
    content = Path(path).read_bytes()
    _check_text(path, content)
    names = _header(path, content, separator)
    try:
        table = pl.read_csv(
            io.BytesIO(content), separator=separator, infer_schema=False, raise_if_empty=False
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        _check_lines(path, content, separator, len(names))
        raise DataError(f"{path}: is not CSV: {str(error).splitlines()[0]}") from None
    if table.width != len(names) or (len(table) and table[:, -1].null_count()):
        _check_lines(path, content, separator, len(names))
    if table.width != len(names):
        raise DataError(f"{path}: is not CSV: its first line has {len(names)} names")
    table.columns = names
    stripped = pl.all().str.strip_chars()
    return table.select(pl.when(stripped != "").then(stripped).name.keep())


def _check_text(path: str, content: bytes) -> None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise DataError(f"{path}:{line}: is not text, but has a zero byte; save it as UTF-8")


def _header(path: str, content: bytes, separator: str) -> list[str]:
    lines = _lines(path, content, separator)
    fields = next((fields for _, fields in lines if fields), None)
    if fields is None:
        raise DataError(f"{path}: is empty")
    names = [name.strip() for name in fields]
    _check_names(path, names)
    if all(map(_is_number, names)):
        raise DataError(
            f"{path}: its first line has numbers ({', '.join(names)[:60]}); it must have the "
            "names of the columns"
        )
    return names


def _check_names(path: str, names: list[str]) -> None:
    for place, name in enumerate(names):
        if name == RECORD:
            raise DataError(
                f"{path}: column {place + 1} of {len(names)} has no name; pandas writes such a "
                "column unless `index=False`"
            )
        if name in names[:place]:
            raise DataError(f"{path}: two columns are named {name!r}")


def _check_lines(path: str, content: bytes, separator: str, width: int) -> None:
    """See that all records have as many fields as the first line.

    Raises:
        DataError: A record has more or fewer; the message names its line.
    """
    for line, fields in _lines(path, content, separator):
        if fields and len(fields) != width:
            raise DataError(
                f"{path}:{line}: has {len(fields)} field{'s' * (len(fields) != 1)}, but the first "
                f"line names {width} column{'s' * (width != 1)}"
            )


def _lines(path: str, content: bytes, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the last line of each record, and its fields."""
    text = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="")
    rows = csv.reader(text, delimiter=separator, strict=True)
    try:
        for fields in rows:
            yield rows.line_num, fields
    except csv.Error as error:
        raise DataError(f"{path}:{rows.line_num}: is not CSV: {error}") from None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
