"""Digits of a table's numbers that float32 keeps, once they are standardized."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from memo.datasets.lost_digits import merged
from memo.datasets.prepared import DataError
from memo.datasets.tabular.columns import Column
from memo.datasets.tabular.source_columns import SourceColumn

_Values: TypeAlias = NDArray[np.float64] | NDArray[np.int64]

RESOLUTION = 1e-3
"""Fraction of a column's standard deviation that float32 must resolve."""

FAR = 100.0
"""A number is far from the others beyond so many of their usual distances from the median."""


def moments(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation, the latter without squares that underflow."""
    mean = values.mean()
    offsets = values - mean
    largest = np.abs(offsets).max()
    return float(mean), float(largest * np.sqrt(np.square(offsets / largest).mean()))


def check_digits(
    source: SourceColumn, column: Column, values: _Values, kept: NDArray[np.float32]
) -> list[str]:
    """See that float32 keeps the digits in which a column's numbers differ.

    Args:
        source: The column as its file has it.
        column: The column as it is encoded.
        values: (n,) its numbers, with the noise that was added to them.
        kept: (n,) the same, encoded.

    Returns:
        Words about last digits that are lost.

    Raises:
        DataError: More than last digits are.
    """
    spread = moments(kept.astype(np.float64))[1]
    if not np.spacing(np.abs(kept).max()) <= RESOLUTION * spread:
        raise source.error(
            "its numbers differ by too little for their size; `standardize: true`, or another "
            "unit, keeps their digits"
        )
    if column.step is not None:  # noise within a step may be equal in two records
        return _check_steps(source, column, values, kept)
    found = merged(values, kept)
    if found is not None and found.too_many:
        raise _lost(source, values, f"{found} in float32")
    return [] if found is None else [f"{column.name}: {found} in float32"]


def _check_steps(
    source: SourceColumn, column: Column, values: _Values, kept: NDArray[np.float32]
) -> list[str]:
    """See that float32 keeps the noise within the steps of rounded numbers.

    Returns:
        Words about records whose noise it carries into the next step.
    """
    assert column.step is not None
    resolution = column.scale * float(np.spacing(np.abs(kept).max()))
    if resolution >= column.step:
        raise source.error(
            f"float32 keeps these numbers to {resolution:.2g}, and no noise within the step of "
            f"{column.step:.6g} under `dequantize`; take it from there, or another unit"
        )
    own = column.in_own_units(kept.astype(np.float64))
    moved = int((np.rint(own / column.step) != np.rint(values / column.step)).sum())
    if not moved:
        return []
    return [
        f"{column.name}: float32 carries the noise of {moved:,} records into the next step of "
        f"{column.step:.6g}, since it keeps these numbers to {resolution:.2g}"
    ]


def _lost(source: SourceColumn, values: _Values, lost: str) -> DataError:
    if not source.spec.standardize:
        return source.error(f"{lost}; `standardize: true`, or another unit, may keep their digits")
    distances = np.abs(values - np.median(values))
    far = int(distances.argmax())
    if distances[far] <= FAR * np.median(distances):
        return source.error(
            f"{lost}, since their differences are small beside their spread; round them in the "
            "file, or name the column under `drop`"
        )
    return source.error(
        f"{lost}, since {values[far]:.6g} in record {source.record(far)} is far from the others; "
        "if that is no value, name its text under `missing_values`; else take another unit (the "
        "logarithm), or name the column under `drop` or `categorical`"
    )
