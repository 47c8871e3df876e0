"""A prepared table in a few lines: its columns, and what was left out, missing or imputed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from memo.datasets.tabular.columns import Column

MOST_LINES = 20
"""Columns that are listed one a line; more are counted."""

MOSTLY = 0.5
"""Share of missing values from which a column is named for it."""


@dataclass(frozen=True)
class ColumnCounts:
    """A modelled column, and what stands in its place where it has no value."""

    column: Column
    missing: int
    """Records without a value."""
    imputed: int
    """Those among them that were given one."""
    absent: dict[str, int]
    """Cells that were taken as missing, by their text."""
    remarks: list[str] = field(default_factory=list)
    """Words about the column."""
    unit: str | None = None
    """Unit that the table's reading gave the numbers."""


def in_words(counts: ColumnCounts) -> str:
    """A column in words."""
    column = counts.column
    number = "number" + f" of {counts.unit}" * (counts.unit is not None)
    if column.categories is not None:
        words = f"{len(column.categories)} categories"
    elif (column.mean, column.scale) == (0, 1):
        words = f"{number}, as it is"
    else:
        words = f"{number}, mean {column.mean:.6g}, standard deviation {column.scale:.6g}"
    rounded = "" if column.step is None else f", rounded to {column.step:.6g}"
    imputed = f", {counts.imputed:,} imputed" if counts.imputed else ""
    own = f", {counts.missing:,} missing" if counts.missing > counts.imputed else ""
    return words + rounded + imputed + own


def summary(
    columns: Sequence[ColumnCounts], aside: dict[str, dict[str, int]], records: int
) -> list[str]:
    """Lines about a table, for a terminal.

    Args:
        columns: Of the table.
        aside: Missing cells of other columns that are kept, by their text.
        records: Number of records.
    """
    numbers = [one for one in columns if one.column.categories is None]
    lines = [
        f"{_count(len(columns), 'column')}: {len(numbers):,} of numbers, "
        f"{len(columns) - len(numbers):,} of categories"
    ]
    lines += _some([f"  {one.column.name}: {in_words(one)}" for one in columns])
    if len(columns) > MOST_LINES:
        lines[-1] += "; dataset.json lists all"
    missing = {one.column.name: one.absent for one in columns if one.absent} | {
        name: words for name, words in aside.items() if words
    }
    if missing:
        lines.append("taken as missing:")
        lines += _some([f"  {name}: {_words(words)}" for name, words in missing.items()])
    mostly = [one for one in columns if one.missing > MOSTLY * records]
    lines += _some(
        [
            f"mostly missing: {one.column.name} ({one.missing:,} of {records:,} records); think of "
            "`drop`"
            for one in mostly
        ]
    )
    return lines + _some([remark for one in columns for remark in one.remarks])


def _words(words: dict[str, int]) -> str:
    return ", ".join(
        f"{count:,} x {word!r}" if word != "nothing" else f"{count:,} empty"
        for word, count in words.items()
    )


def _some(lines: list[str]) -> list[str]:
    more = len(lines) - MOST_LINES
    return lines if more <= 0 else [*lines[:MOST_LINES], f"  and {more:,} more"]


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
