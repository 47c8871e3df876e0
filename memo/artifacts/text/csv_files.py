"""CSV as every table of memo is written, and read back: safe to open in a spreadsheet or to print.

A spreadsheet takes a text that begins with =, +, -, @, a tab or a carriage return for a formula,
and runs it; a quote before it makes it text. What begins with such a quote gets another one, so
that taking one away gives each text back.
"""

import io

import polars as pl

from memo.errors import printable

FORMULA = r"^'*[=+\-@\t\r]"
"""Beginnings of texts that a spreadsheet would run, quotes of an earlier writer before them."""

NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
"""Texts that a spreadsheet takes for numbers; the script of pages has the same patterns."""

QUOTED = r"^'('*[=+\-@\t\r])"


def csv_bytes(table: pl.DataFrame) -> bytes:
    """Format a table as CSV: formulas as text, control characters written out, numbers as such."""
    text = [_plain(pl.col(name)) for name, dtype in table.schema.items() if dtype == pl.String]
    return table.with_columns(text).write_csv().encode()


def table_bytes(suffix: str, table: pl.DataFrame) -> bytes:
    """Format a table as CSV for the suffix .csv, and as Parquet for any other.

    >>> table_bytes(".csv", pl.DataFrame({"a": [1]}))
    b'a\\n1\\n'
    """
    if suffix == ".csv":
        return csv_bytes(table)
    content = io.BytesIO()
    table.write_parquet(content, compression="zstd")
    return content.getvalue()


def unquoted(column: pl.Series) -> pl.Series:
    """Take away the quotes that `csv_bytes` has put before texts."""
    return column.str.replace(QUOTED, "${1}")


def _plain(column: pl.Expr) -> pl.Expr:
    text = column.map_elements(printable, return_dtype=pl.String)
    return (
        pl.when(text.str.contains(NUMBER)).then(text).otherwise(text.str.replace(FORMULA, "'${0}"))
    )
