"""The marks with which a file of text writes numbers, and its words where there is none."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from memo.datasets.tabular.written_dates import likely_formats
from memo.datasets.tabular.written_numbers import (
    MARKS,
    Decimal,
    Thousands,
    is_absence,
    numbers_of,
)
from memo.spec.dataset_specs import TableSpec

ABSENT: tuple[str, ...] = tuple(TableSpec.model_fields["missing_values"].default)

MOST_STRANGERS = 3
"""Most different texts that a column of numbers may have, to be taken for missing values."""

GROUPED: tuple[Decimal, Thousands | None] = (".", ",")
"""Marks that are likelier than a decimal comma where commas separate the fields."""

CODE = "NA"
"""Missing in most tables; Namibia, sodium or North America in some."""

FEWEST_CODES = 5

LOOKED_AT = 20
"""Values that a quick look has."""

STRANGE_SHARE = 0.1
"""Largest share of the records that may have such a text."""


@dataclass(frozen=True)
class FileWriting:
    """Marks of numbers, and texts that stand for a missing value, in all columns of a file."""

    decimal: Decimal = "."
    thousands: Thousands | None = None
    absent: tuple[str, ...] = ABSENT
    reasons: dict[str, str] = field(default_factory=dict)
    """Why they are so, by their keys in `TableSpec`, where that must be said."""

    @property
    def doubtful_points(self) -> bool:
        """True where points are decimal, but could mark thousands; the spec must then say so."""
        return self.thousands is None and "decimal" in self.reasons

    @property
    def settings(self) -> dict[str, Any]:
        """Values of keys of `TableSpec` that are to be written."""
        marks = {
            "decimal": self.decimal if self.decimal == "," or self.doubtful_points else None,
            "thousands": self.thousands,
            "missing_values": list(self.absent) if "missing_values" in self.reasons else None,
        }
        return {key: value for key, value in marks.items() if value is not None}


def likely_writing(
    columns: Iterable[pl.Series], plain: Sequence[pl.Series], separator: str
) -> FileWriting:
    """Tell how a file writes numbers and absence from the columns that need more than the default.

    Args:
        columns: Text, null where nothing is written.
        plain: Further ones, known to have nothing but numbers, written as by default.
        separator: Of the fields; a comma makes commas within fields less likely decimal ones.
    """
    numbers: list[tuple[pl.Series, pl.Series]] = []
    others: list[tuple[pl.Series, pl.Series]] = []
    for column in columns:
        different = column.drop_nulls().unique(maintain_order=True)
        known = different.filter(~different.is_in(ABSENT))
        if len(known):
            (others if numbers_of(known).null_count() else numbers).append((column, known))
    of_plain = plain if others else filter(_may_have_thousands, plain)
    pointed = [*(known for _, known in numbers), *(column.drop_nulls() for column in of_plain)]
    pointed = [known for known in pointed if known.str.contains(".", literal=True).any()]
    marks, why = _likely_marks([known for _, known in others], pointed, separator)
    if not why:
        why = next(filter(None, map(_doubt_of_points, pointed)), "")
    absent, why_absent = _absent([column for column, _ in numbers], others, marks)
    reasons = dict.fromkeys(("decimal", "thousands"), why) | {"missing_values": why_absent}
    return FileWriting(*marks, absent, {key: words for key, words in reasons.items() if words})


def _may_have_thousands(column: pl.Series) -> bool:
    """False where some of the first numbers have points that mark no thousands: a quick look."""
    pointed = [text for text in column.head(LOOKED_AT) if text and "." in text]
    return not pointed or all(len(text.partition(".")[2]) == 3 for text in pointed)


def _likely_marks(
    others: list[pl.Series], with_points: list[pl.Series], separator: str
) -> tuple[tuple[Decimal, Thousands | None], str]:
    """The marks that read most columns as numbers, and why; the default where it reads as many."""
    texts = [known.filter(~known.map_elements(is_absence, pl.Boolean)) for known in others]
    texts = [known for known in texts if len(known)]
    read = {way: [known for known in texts if _reads(way, known)] for way in MARKS}
    votes = {
        way: len(read[way]) - sum(not _reads(way, known) for known in with_points) for way in MARKS
    }
    best = max(votes.values())
    ways = [way for way in MARKS if votes[way] == best]
    if best <= 0 or ways[0] == MARKS[0]:
        return MARKS[0], ""
    way = GROUPED if separator == "," and GROUPED in ways else ways[0]
    known = read[way][0]
    odd = known.filter(numbers_of(known).is_null())
    example = pl.Series([(odd if len(odd) else known)[0]])
    values = {way: numbers_of(example, *way)[0] for way in ways}
    why = f"Column {known.name!r} has {example[0]!r}, read as {values[way]:.10g}"
    for (decimal, thousands), value in values.items():
        if value is not None and value != values[way]:
            mark = "null" if thousands is None else f'"{thousands}"'
            why += (
                f'. It could also be {value:.10g}: then set `decimal: "{decimal}"` and '
                f"`thousands: {mark}`"
            )
            break
    return way, f"{why}."


def _reads(way: tuple[Decimal, Thousands | None], known: pl.Series) -> bool:
    return not numbers_of(known, *way).null_count()


def _doubt_of_points(known: pl.Series) -> str:
    """Words about points that could mark thousands; empty where they cannot."""
    points = known.filter(known.str.contains(".", literal=True))
    others = known.filter(~known.str.contains(".", literal=True))
    doubtful = (
        len(others) > 0
        and points.str.contains(r"^[+-]?[1-9][0-9]{0,2}\.[0-9]{3}$").all()
        and others.str.contains(r"^[+-]?[0-9]{1,3}$").all()
    )
    if not doubtful:
        return ""
    return (
        f"Column {known.name!r} has {points[0]!r}, read as {float(points[0]):.10g}. If its points "
        'mark thousands, set `thousands: "."` and `decimal: ","`.'
    )


def _absent(
    plain: list[pl.Series],
    others: list[tuple[pl.Series, pl.Series]],
    marks: tuple[Decimal, Thousands | None],
) -> tuple[tuple[str, ...], str]:
    """Texts that stand for a missing value, and why, where that must be said.

    Args:
        plain: Columns of numbers.
        others: Other columns, and their different texts.
        marks: Of the numbers among those.
    """
    words: dict[str, str] = {}
    usual: dict[str, str] = {}
    codes, elsewhere = "", any(column.is_in([CODE]).any() for column in plain)
    for column, known in others:
        added = _words(column, known, marks)
        words |= {word: column.name for word in added if word not in words}
        if added:
            elsewhere |= column.is_in([CODE]).any()
            continue
        found = column.drop_nulls().unique()
        usual |= dict.fromkeys(found.filter(found.is_in(ABSENT)), column.name)
        if CODE in usual and usual[CODE] == column.name and _are_codes(known):
            codes = column.name
    said = [f"{word!r} in column {name!r}" for word, name in (words | usual).items()]
    if codes and not elsewhere:
        absent = tuple(word for word in ABSENT if word != CODE)
        said = [one for one in said if one != f"{CODE!r} in column {codes!r}"]
        why = f"Not {CODE!r}, which is one of the codes in column {codes!r}"
        return (*absent, *words), "; but ".join([why, *([", ".join(said)] if said else [])]) + "."
    return (*ABSENT, *words), f"Here: {'; '.join(said)}." if said else ""


def _are_codes(known: pl.Series) -> bool:
    """True for codes of two capital letters, of which `NA` is one, as of countries."""
    return len(known) >= FEWEST_CODES and bool(known.str.contains("^[A-Z]{2}$").all())


def _words(
    column: pl.Series, known: pl.Series, marks: tuple[Decimal, Thousands | None]
) -> list[str]:
    """Texts of a column of numbers or dates that stand for a missing value."""
    strange = known.filter(numbers_of(known, *marks).is_null()).to_list()
    words = [text for text in strange if is_absence(text)]
    if len(strange) < len(known):
        if len(words) == len(strange):
            return words
        few = len(strange) <= MOST_STRANGERS and not any(map(_has_digit, strange))
        share = column.is_in(strange).sum() / max(1, len(column) - column.null_count())
        return strange if few and share <= STRANGE_SHARE else []
    rest = known.filter(~known.is_in(words))
    return words if words and likely_formats(rest) else []


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)
