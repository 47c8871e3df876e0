"""Numbers that say nothing about a record: row numbers, ids, and stand-ins for missing values."""

import re

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.datasets.tabular.numbering import FEWEST, names_records

_CODES = re.compile(
    r"(?:.*[_ .-])?(?:zip|zip[_ ]?code|post(?:al)?[_ ]?code|plz|phone|telephone|fips|ssn|isbn|ean)",
    re.IGNORECASE,
)


def has_name_of_codes(name: str) -> bool:
    """True for names of numbers with which nobody counts: postal codes, telephones."""
    return _CODES.fullmatch(name) is not None


def row_numbers(name: str, numbers: pl.Series) -> str | None:
    """Say why a column of numbers looks like row numbers or identifiers; None where it does not.

    Args:
        name: Of the column.
        numbers: (n,) its values, null where they are missing.
    """
    known = numbers.drop_nulls() if numbers.null_count() else numbers
    values = known.cast(pl.Float64).to_numpy()
    n = len(values)
    if n < 2 or (values != np.floor(values)).any() or len(np.unique(values)) < n:
        return None
    if names_records(name):
        return f"has another whole number in each of the {n:,} records, and the name of an id"
    if n >= FEWEST and values.max() - values.min() == n - 1:
        return f"has the numbers {values.min():.15g} to {values.max():.15g}, each once"
    return None


def far_number(name: str, numbers: NDArray[np.float64]) -> list[str]:
    """Words about a number that may stand for a missing value; none where none does.

    Such a number consists of nines, as -9999, and lies farther from all others than they from each
    other.

    Args:
        name: Of the column.
        numbers: (n,) its values.
    """
    low, high = float(numbers.min()), float(numbers.max())
    for number in (low, high):
        if not re.fullmatch(r"-?9{2,}(?:\.9+)?", f"{number:.15g}"):
            continue
        others = numbers[numbers != number]
        if len(others) and np.abs(others - number).min() > np.ptp(others):
            count = len(numbers) - len(others)
            return [
                f"{name}: {number:.15g} in {count:,} record{'s' * (count > 1)} is far from the "
                "others; if it says that nothing is known, name it under `missing_values`"
            ]
    return []
