"""Columns of a table: records as vectors, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, TypeAdapter

__all__ = [
    "Column",
    "blocks",
    "category_counts",
    "columns_as_json",
    "columns_of_json",
    "encoded",
    "log_jacobian",
    "records",
]


Positive: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Column:
    """A column of numbers or of categories."""

    name: str
    categories: tuple[str, ...] | None = None
    """Their names, sorted; None of numbers."""
    mean: FiniteFloat = 0.0
    scale: Positive = 1.0
    """A number v is encoded as (v - mean) / scale."""
    step: Positive | None = None
    """Numbers were rounded to multiples of it, before noise was added."""

    @property
    def width(self) -> int:
        """How many entries of a record's vector it has."""
        return 1 if self.categories is None else len(self.categories)


_COLUMNS = TypeAdapter(list[Column])


def columns_as_json(columns: Sequence[Column]) -> Any:
    """What `columns_of_json` reads."""
    return _COLUMNS.dump_python(list(columns), mode="json")


def columns_of_json(facts: Any, entries: int) -> list[Column]:
    """The columns of vectors of so many entries.

    Raises:
        ValueError: There are no such columns.
    """
    columns = _COLUMNS.validate_python(facts)
    if sum(column.width for column in columns) != entries:
        raise ValueError(f"its columns do not have {entries} entries")
    return columns


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
