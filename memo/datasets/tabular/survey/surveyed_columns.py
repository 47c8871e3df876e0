"""A look at one column of a table: its values as numbers, days or text."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import polars as pl

from memo.datasets.tabular.survey.file_writing import FileWriting
from memo.datasets.tabular.written_dates import (
    dated_share,
    days_of_parquet,
    days_of_text,
    likely_formats,
)
from memo.datasets.tabular.written_numbers import numbers_of, reading_of

Kind: TypeAlias = Literal["number", "date", "text", "unusable"]

LIKE_DATES = 0.5
"""Share of texts that are dates from which on a column is hardly one of categories."""

EXACT = 2.0**53
"""Whole numbers below are exact in float64."""

CENTURIES = (1800, 2200)
"""Years that numbers of eight digits must have to be dates."""


@dataclass(frozen=True)
class Looked:
    """A column, and what its values seem to be."""

    name: str
    kind: Kind
    known: pl.Series
    """(n,) values as they are written, null where one is missing."""
    numbers: pl.Series | None = None
    """(n,) float64: numbers, or days of dates; null where a value is missing."""
    form: str | None = None
    """Format of dates, as for `dates`; None for Parquet's own."""
    note: str = ""
    """Remarks on the way the values were read, or the reason why they cannot be used."""
    doubtful: bool = False
    """True for text that seems to be numbers or dates which cannot be read."""
    mixed: bool = False
    """True where some texts of a column of categories are numbers."""
    different: int = field(init=False)
    """Number of different values."""
    missing: int = field(init=False)
    """Number of records without a value."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "missing", self.known.null_count())
        written = self.known if self.numbers is None or self._are_long() else self.numbers
        object.__setattr__(self, "different", written.drop_nulls().n_unique())

    def _are_long(self) -> bool:
        """True where float64 may not tell different numbers apart."""
        assert self.numbers is not None
        largest = self.numbers.abs().max()
        return largest is not None and float(largest) >= EXACT  # type: ignore[arg-type] # a number


def look(
    series: pl.Series, writing: FileWriting, *, typed: bool, numbers: pl.Series | None = None
) -> Looked:
    """Look at a column.

    Args:
        series: (n,) values.
        writing: How the file writes numbers and absence.
        typed: True where the column has a type of its own, as in Parquet.
        numbers: (n,) float64 the numbers of a column of text that has nothing else.
    """
    name, dtype = series.name, series.dtype
    if numbers is not None and not _could_be_dates(numbers):
        return Looked(name, "number", series, numbers)
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        empty = pl.Series(name, [None] * len(series), pl.String)
        return Looked(name, "unusable", empty, note=f"has values of type {dtype}")
    if dtype.is_temporal():
        return Looked(name, "date", series, days_of_parquet(series))
    if dtype.is_numeric():
        numbers = series.cast(pl.Float64).fill_nan(None)
        known = series.fill_nan(None) if dtype.is_float() else series
        return Looked(name, "number", known, numbers)
    texts = series.cast(pl.String).str.strip_chars()
    known = texts.set(texts.is_in(writing.absent).fill_null(True), None)
    return _look_at_text(name, known, writing, typed=typed)


def _look_at_text(name: str, known: pl.Series, writing: FileWriting, *, typed: bool) -> Looked:
    different = known.drop_nulls().unique(maintain_order=True)
    numbers = numbers_of(different, writing.decimal, writing.thousands)
    readable = not typed and len(different) > 0
    codes = different.filter(different.str.contains("^0[0-9]+$"))
    if readable and not numbers.null_count() and not len(codes):
        if _are_dates(different):
            return Looked(name, "date", known, days_of_text(known, "%Y%m%d"), "%Y%m%d")
        values = numbers_of(known, writing.decimal, writing.thousands)
        return Looked(name, "number", known, values)
    forms = likely_formats(different)
    if forms:
        note = f"could also be {', '.join(forms[1:])}" if len(forms) > 1 else ""
        return Looked(name, "date", known, days_of_text(known, forms[0]), forms[0], note)
    mixed = numbers.null_count() < len(numbers)
    if mixed and len(codes) and not numbers.null_count():
        note = f"has leading zeros, as codes have ({codes[0]!r:.40})"
        return Looked(name, "text", known, note=note, mixed=True)
    note = _doubt(different, numbers, mixed=mixed)
    return Looked(name, "text", known, note=note, doubtful=bool(note), mixed=mixed)


def _doubt(different: pl.Series, numbers: pl.Series, *, mixed: bool) -> str:
    """Why texts seem to be numbers or dates that cannot be read; empty where they do not."""
    if len(different) and not numbers.null_count():
        return (
            f"is text in the file, though all of it is numbers, such as {different[0]!r:.40}; "
            "store it as numbers"
        )
    reading = reading_of(different)
    if reading is not None:
        return "; ".join(words for words in (f"has {reading.seen}", reading.cure) if words)
    if dated_share(different) >= LIKE_DATES:
        return "has dates that are not all of one format"
    if mixed and numbers.null_count() <= len(numbers) / 2:
        return f"has numbers, but also {different.filter(numbers.is_null())[0]!r:.40}"
    return ""


def _could_be_dates(numbers: pl.Series) -> bool:
    """True for numbers of eight digits, at a quick look."""
    first = numbers[0]
    return first is None or 1e7 <= first < 3e7


def _are_dates(different: pl.Series) -> bool:
    """True for numbers such as 20240131, all of which are days."""
    if len(different) < 2 or not different.str.contains(r"^[12]\d{7}$").all():
        return False
    years = different.str.slice(0, 4).cast(pl.Int64)
    valid = different.str.to_date("%Y%m%d", strict=False).null_count() == 0
    return valid and bool(years.is_between(*CENTURIES).all())
