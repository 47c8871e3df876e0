"""Columns of a table: records as vectors, and back."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["Column", "blocks", "category_counts", "encoded", "log_jacobian", "records"]


@dataclass(frozen=True)
class Column:
    """A column of numbers or of categories."""

    name: str
    categories: tuple[str, ...] | None = None
    """Their names, sorted; None of numbers."""
    mean: float = 0.0
    scale: float = 1.0
    """A number v is encoded as (v - mean) / scale."""
    step: float | None = None
    """Numbers were rounded to multiples of it, before noise was added."""

    @property
    def width(self) -> int:
        """How many entries of a record's vector it has."""
        return 1 if self.categories is None else len(self.categories)

    def as_json(self) -> dict[str, Any]:
        """What `Column.of_json` reads."""
        return asdict(self)

    @staticmethod
    def of_json(facts: dict[str, Any]) -> "Column":
        """The column that `as_json` describes."""
        names = facts["categories"]
        return Column(**{**facts, "categories": None if names is None else tuple(names)})


def blocks(columns: Sequence[Column]) -> list[slice]:
    """Where each column lies in a record's vector: numbers first, then categories."""
    found: dict[str, slice] = {}
    start = 0
    for column in sorted(columns, key=lambda column: column.categories is not None):
        found[column.name] = slice(start, start + column.width)
        start += column.width
    return [found[column.name] for column in columns]


def category_counts(columns: Sequence[Column]) -> list[int]:
    """How many categories each categorical column has, in the order of their blocks."""
    return [len(column.categories) for column in columns if column.categories is not None]


def encoded(
    columns: Sequence[Column], values: Sequence[NDArray[np.float64] | NDArray[np.int64]]
) -> NDArray[np.float32]:
    """Records as vectors, (n, sum of widths).

    Two records that differ in a category are sqrt 2 apart there, as are two random numbers of a
    standardized column in the root mean square.

    Args:
        columns: Of the table.
        values: For each column (n,): numbers, or places in `categories`.
    """
    n = len(values[0])
    rows = np.zeros((n, sum(column.width for column in columns)), np.float32)
    for column, block, of_column in zip(columns, blocks(columns), values, strict=True):
        if column.categories is None:
            rows[:, block.start] = (of_column - column.mean) / column.scale
        else:
            rows[np.arange(n), block.start + of_column.astype(np.int64)] = 1
    return rows


def records(columns: Sequence[Column], rows: NDArray[Any]) -> pl.DataFrame:
    """Vectors as a table again: names, and numbers in their own units.

    Numbers have the digits that float32 kept, and are rounded where the source's were.
    """
    return pl.DataFrame(
        [
            pl.Series(column.name, _values(column, rows[:, block]))
            for column, block in zip(columns, blocks(columns), strict=True)
        ]
    )


def log_jacobian(columns: Sequence[Column]) -> float:
    """log |det d vector / d numbers|, nats: minus the sum of log scales."""
    return -sum(float(np.log(column.scale)) for column in columns if column.categories is None)


def _values(column: Column, block: NDArray[Any]) -> NDArray[Any] | list[str]:
    if column.categories is not None:
        return [column.categories[place] for place in block.argmax(1)]
    standardized = block[:, 0].astype(np.float64)
    numbers = column.mean + column.scale * standardized
    if column.step is not None:
        numbers = column.step * np.rint(numbers / column.step)
    error = column.scale * np.abs(standardized).max(initial=0) * np.finfo(np.float32).eps
    return numbers if error == 0 else np.round(numbers, int(-np.ceil(np.log10(2 * error))))
