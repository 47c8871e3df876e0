"""A column as its file has it: its texts or numbers, what is missing, and errors about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.datasets.prepared import DataError
from memo.datasets.tabular.table_files import RECORD, TableFile
from memo.spec.dataset_specs import TableSpec

KEPT_DIGITS = 15
"""Decimal digits that float64 keeps of any number."""

BLANK = "nothing"
"""Word in counts for cells without any text."""


class ColumnError(DataError):
    """A column is not what the spec says."""

    def __init__(self, path: str, column: str, problem: str) -> None:
        super().__init__(f"{path}: column {column!r:.100}{problem}")
        self.column = column
        self.problem = problem.lstrip(",: ")


@dataclass(frozen=True)
class SourceTable:
    """A table as its file has it, and what the spec says of it.

    What is asked of every column of text is computed for all at once: a column of its own costs
    Polars as much as ten thousand values, and tables of genes have tens of thousands.
    """

    spec: TableSpec
    file: TableFile

    @cached_property
    def texts(self) -> pl.DataFrame:
        """Columns of text, null where a value is missing."""
        stripped = pl.col(pl.String).str.strip_chars()
        known = ~stripped.is_in([*self.spec.missing_values, ""])
        return self._columns.select(pl.when(known).then(stripped).name.keep())

    @cached_property
    def named(self) -> frozenset[str]:
        """Columns that the spec says are to be modelled, as what they are."""
        return frozenset([*(self.spec.columns or []), *self.spec.dequantize, *self.spec.dates])

    @cached_property
    def with_words(self) -> frozenset[str]:
        """Columns of text in which a text stands for a missing value."""
        stripped = pl.col(pl.String).str.strip_chars()
        blank = self._columns.select((stripped.is_null() | (stripped == "")).sum()).row(0)
        found = zip(self.texts.columns, self.texts.null_count().row(0), blank, strict=True)
        return frozenset(name for name, missing, empty in found if missing > empty)

    @cached_property
    def numbers(self) -> pl.DataFrame:
        """Texts as numbers with a decimal point and no marks, null where they are none."""
        return self.texts.select(pl.all().cast(pl.Float64, strict=False).fill_nan(None))

    @cached_property
    def plain(self) -> frozenset[str]:
        """Columns of CSV that have numbers with a decimal point, and nothing else to look at."""
        spec, texts = self.spec, self.texts
        if self.file.typed or (spec.decimal, spec.thousands) != (".", None) or not texts.width:
            return frozenset()
        point, every = pl.all().str.contains(".", literal=True), pl.all()
        odd = (
            every.str.contains(r"^0[0-9]+$").any(),
            every.str.contains(r"^[+-]?[1-9][0-9]{0,2}\.[0-9]{3}$").any() & ~point.all(),
            every.str.len_chars().max() > KEPT_DIGITS,
        )
        codes, grouped, long = (_true(texts.select(flag)) for flag in odd)
        known, read = texts.count().row(0), self.numbers.count().row(0)
        apart = texts.select(every.n_unique()).row(0), self.numbers.select(every.n_unique()).row(0)
        found = zip(texts.columns, known, read, *apart, strict=True)
        return frozenset(
            name
            for name, texts_of, numbers_of, different, kept in found
            if 0 < texts_of == numbers_of and (different == kept or name not in long)
        ) - (codes | grouped)

    @property
    def _columns(self) -> pl.DataFrame:
        return self.file.records.drop(RECORD).select(pl.col(pl.String))


@dataclass(frozen=True)
class SourceColumn:
    """A column of a table, as the file has it."""

    table: SourceTable
    name: str
    absent: dict[str, int] = field(default_factory=dict)
    """Number of cells that were taken as missing, by the text that stands in them."""

    @property
    def spec(self) -> TableSpec:
        """Spec of the table."""
        return self.table.spec

    @property
    def file(self) -> TableFile:
        """File of the table."""
        return self.table.file

    @property
    def series(self) -> pl.Series:
        """Values of the column."""
        return self.file.records[self.name]

    @cached_property
    def texts(self) -> pl.Series:
        """Values as text, null where they are missing; booleans as `true` and `false`.

        Raises:
            DataError: The column has values of another type.
        """
        series = self.series
        if series.dtype == pl.String and self.name not in self.table.with_words:
            known: pl.Series = self.table.texts[self.name]
            self.absent.update({BLANK: known.null_count()} if known.null_count() else {})
            return known
        texts = self.written
        missing = texts.is_in([*self.spec.missing_values, ""]).fill_null(True)
        if series.dtype.is_float():
            missing |= series.is_nan().fill_null(False)
        words = texts.filter(missing).fill_null("").rename("text").value_counts(name="n")
        self.absent.update({word or BLANK: n for word, n in words.sort("n").rows()})
        return texts.zip_with(~missing, pl.Series([None], dtype=pl.String))

    @property
    def written(self) -> pl.Series:
        """Values as text without spaces around it, those that stand for nothing among them.

        Raises:
            DataError: The column has values of another type.
        """
        series = self.series
        if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object):
            raise self.unusable()
        if series.dtype == pl.Duration:
            series = series.dt.to_string()
        return series.cast(pl.String).str.strip_chars()

    @cached_property
    def different(self) -> pl.Series:
        """Different texts of the column, in the order in which they come."""
        return self.texts.drop_nulls().unique(maintain_order=True)

    def record(self, row: int) -> Any:
        """Number in the file of the record in a row."""
        return self.file.records[RECORD][int(row)]

    def error(self, message: str, row: int | None = None) -> ColumnError:
        """An error about the column, or about its value in a row."""
        record = "" if row is None else f", record {self.record(row)}"
        return ColumnError(self.spec.path, self.name, f"{record}: {message}")

    def unusable(self) -> DataError:
        """An error about the type of the column."""
        return self.error(
            f"is of type {self.series.dtype!s:.40}, but only numbers, text and booleans can be "
            "used; name it under `drop`"
        )

    def constant(self, value: Any) -> DataError:
        """An error about a column with a single value."""
        return self.error(
            f"is {short(value)} in all {len(self.series):,} records, and says nothing about any; "
            "name it under `drop`"
        )

    def is_named(self) -> bool:
        """True where the spec says that the column is to be modelled."""
        return self.name in self.table.named

    def check_words(self) -> None:
        """See that no text that stands for a missing value looks like one of the categories.

        Raises:
            DataError: One does, and the spec does not have `missing_values` of its own.
        """
        texts, words = self.texts, [word for word in self.absent if word != BLANK]
        if not words or "missing_values" in self.spec.model_fields_set:
            return
        shapes = [_shape(text) for text in self.different.head(10_000)]
        for word in words:
            alike = shapes.count(_shape(word))
            if alike and 2 * alike >= len(shapes):
                row = self.written == word
                others = [t for t in self.different.head(100) if _shape(t) == _shape(word)]
                raise self.error(
                    f"{word!r} counts as missing, but looks like other values of the column "
                    f'({in_words(others)}); write `missing_values: ["", "{word}"]` if it says that '
                    'nothing is known, `missing_values: [""]` if it is one of the values',
                    int((row & texts.is_null()).arg_true()[0]),
                )

    def check_missing(self, series: pl.Series) -> None:
        """See that there are values, and that those which are missing may be.

        Raises:
            DataError: There are none, or some are missing under `missing: refuse`.
        """
        if series.null_count() == len(series):
            raise self.error("has no values; name it under `drop`")
        if series.null_count() and self.spec.missing == "refuse":
            missing = series.is_null().arg_true()
            others = f", nor have {len(missing) - 1:,} others" if len(missing) > 1 else ""
            words = [word for word in self.absent if word != BLANK]
            said = f" ({in_words(words)} counts as missing)" if words else ""
            raise self.error(
                f"has no value{others}{said}; `missing: impute` fills {'them' if others else 'it'} "
                "in, `missing: category` does so with numbers and makes absence a category of its "
                "own, `drop` leaves the column out",
                missing[0],
            )


def known_numbers(series: pl.Series) -> NDArray[np.float64]:
    """Numbers of a column that are not null, in order."""
    known = series.drop_nulls() if series.null_count() else series
    return known.cast(pl.Float64).to_numpy()


def short(value: Any) -> str:
    """A value in an error message."""
    text = repr(value) if isinstance(value, str | int) else f"{value:.6g}"
    return text if len(text) <= 40 else f"{text[:37]}..."


def in_words(texts: Sequence[str], most: int = 5) -> str:
    """Some of several texts, quoted."""
    listed = ", ".join(short(text) for text in texts[:most])
    return listed + f" and {len(texts) - most:,} more" * (len(texts) > most)


def _shape(text: str) -> str:
    """A text's pattern of capitals, small letters, digits and signs."""
    kinds = ((str.isupper, "A"), (str.isalpha, "a"), (str.isdigit, "9"), (str.isspace, " "))
    return "".join(next((mark for kind, mark in kinds if kind(sign)), ".") for sign in text)


def _true(flags: pl.DataFrame) -> frozenset[str]:
    """Names of the columns whose only value is true."""
    if not flags.width:
        return frozenset()
    return frozenset(name for name, flag in zip(flags.columns, flags.row(0), strict=True) if flag)
