"""Columns that number or name the records, and say nothing about them."""

import re

import numpy as np
import polars as pl

FEWEST = 10
"""Records of which consecutive numbers are hardly a measurement."""

_NAMES = re.compile(
    r"(?:.*[_ .-])?(?:id|idx|index|uuid|guid|rowid)|unnamed: ?\d+|__index_level_\d+__|level_\d+"
    r"|row[_ .-]?(?:names?|no|nums?|numbers?)|(?:record|sample|case|serial)[_ .-]?(?:no|numbers?)"
    r"|s\.?no\.?|nr\.?|#",
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
