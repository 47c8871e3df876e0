"""Columns of a table: records as vectors, and vectors as records."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, TypeAdapter

Positive: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Column:
    """A column of numbers or of categories."""

    name: str
    categories: tuple[str, ...] | None = None
    """Names of the categories, sorted; None for a column of numbers."""
    mean: FiniteFloat = 0.0
    scale: Positive = 1.0
    """A number v is encoded as (v - mean) / scale."""
    step: Positive | None = None
    """Step to multiples of which numbers were rounded, before noise was added."""

    @property
    def width(self) -> int:
        """Number of entries in a record's vector."""
        return 1 if self.categories is None else len(self.categories)

    def in_own_units(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Undo the standardization of encoded numbers, of any shape."""
        return self.mean + self.scale * values


_COLUMNS = TypeAdapter(list[Column])


def columns_as_json(columns: Sequence[Column]) -> Any:
    """Columns as JSON values, for `columns_of_json`."""
    return _COLUMNS.dump_python(list(columns), mode="json")


def columns_of_json(facts: Any, entries: int) -> list[Column]:
    """Read the columns of vectors with so many entries.

    Raises:
        ValueError: These are no columns, or columns of other vectors.
    """
    columns = _COLUMNS.validate_python(facts)
    if sum(column.width for column in columns) != entries:
        raise ValueError(f"its columns do not have {entries} entries")
    return columns


def blocks(columns: Sequence[Column]) -> list[slice]:
    """Entries of each column in a record's vector, which has numbers first, then categories."""
    found: dict[str, slice] = {}
    start = 0
    for column in sorted(columns, key=lambda column: column.categories is not None):
        found[column.name] = slice(start, start + column.width)
        start += column.width
    return [found[column.name] for column in columns]


def category_counts(columns: Sequence[Column]) -> list[int]:
    """Number of categories of each categorical column, in the order of their blocks."""
    return [len(column.categories) for column in columns if column.categories is not None]


def encoded(
    columns: Sequence[Column], values: Sequence[NDArray[np.float64] | NDArray[np.int64]]
) -> NDArray[np.float32]:
    """Records as vectors, (n, sum of widths).

    Two records with different categories in a column are sqrt(2) apart there; the root mean square
    distance of two random records in a standardized column is sqrt(2) too.

    Args:
        columns: Columns of the table.
        values: For each column (n,): numbers, or positions in its `categories`.
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
    """Vectors (n, sum of widths) as a table of categories' names and numbers in their own units.

    Numbers have the digits that float32 kept, and are rounded where the source's were.
    """
    return pl.DataFrame(
        [
            pl.Series(column.name, _values(column, rows[:, block]))
            for column, block in zip(columns, blocks(columns), strict=True)
        ]
    )


def in_own_units(columns: Sequence[Column], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors (m, columns) of numeric columns in the columns' own units.

    Their log density there is the one in model space plus `log_jacobian(columns)`.
    """
    own = [column.in_own_units(values) for column, values in zip(columns, points.T, strict=True)]
    return np.stack(own, axis=-1)


def log_jacobian(columns: Sequence[Column]) -> float:
    """log |det d vector / d numbers|, nats: minus the sum of the logs of the scales."""
    return float(-sum(np.log(column.scale) for column in columns if column.categories is None))


def _values(column: Column, block: NDArray[Any]) -> NDArray[Any] | list[str]:
    if column.categories is not None:
        return [column.categories[place] for place in block.argmax(1)]
    standardized = block[:, 0].astype(np.float64)
    numbers = column.in_own_units(standardized)
    if column.step is not None:
        numbers = column.step * np.rint(numbers / column.step)
    error = column.scale * np.abs(standardized).max(initial=0) * np.finfo(np.float32).eps
    return numbers if error == 0 else np.round(numbers, int(-np.ceil(np.log10(2 * error))))
