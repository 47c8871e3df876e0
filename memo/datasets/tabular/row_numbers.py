"""Numbers that say nothing about a record: row numbers, ids, and stand-ins for missing values."""

import re

import numpy as np
import polars as pl
from numpy.typing import NDArray

FEWEST = 10
"""Records of which consecutive numbers are hardly a measurement."""

_NAMES = re.compile(
    r"(?:.*[_ .-])?(?:id|idx|index|uuid|guid|rowid)"
    r"|unnamed: ?\d+(?:\.\d+)*|__index_level_\d+__|level_\d+"
    r"|row[_ .-]?(?:names?|no|nums?|numbers?)|(?:record|sample|case|serial)[_ .-]?(?:no|numbers?)"
    r"|s\.?no\.?|nr\.?|#",
    re.IGNORECASE,
)
_CODES = re.compile(
    r"(?:.*[_ .-])?(?:zip|zip[_ ]?code|post(?:al)?[_ ]?code|plz|phone|telephone|fips|ssn|isbn|ean)",
    re.IGNORECASE,
)
_CAMEL = re.compile(r".*[a-z](?:ID|Id)")


def has_name_of_ids(name: str) -> bool:
    """True for names that columns of row numbers and identifiers usually have.

    Example:
        >>> [has_name_of_ids(name) for name in ("PassengerId", "customer_id", "Unnamed: 0", "acid")]
        [True, True, True, False]
    """
    return bool(_NAMES.fullmatch(name) or _CAMEL.fullmatch(name))


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
    if has_name_of_ids(name):
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
