"""Columns that number or name the records, and measure nothing."""

import re

import numpy as np
from numpy.typing import NDArray

FEWEST = 10
"""Fewest records that numbers in a row may be more than chance for."""

DENSE = 0.5
"""Share of the numbers between first and last that must be there, where some were left out."""

GAPS = 5.0
"""Largest step between dates in order, in usual steps: weekends and holidays, but no long gap."""

_IDENTIFIERS = frozenset(["id", "ids", "uuid", "guid", "identifier", "rowid", "ssn"])
"""Last words of names of identifiers, even of those that several records share."""

_OWNERS = (
    "account|case|client|customer|employee|household|item|order|participant|passenger|patient|"
    "person|product|record|respondent|row|sample|student|subject|transaction|user"
)
_JOINED = re.compile(rf"(?:{_OWNERS})(?:id|no|nr|num|number)")
_LEVEL = re.compile(
    r"unnamed: ?\d+(?:\.\d+)*(?:_level_\d+)?|_{0,2}(?:index_)?level_\d+_{0,2}|(?:row|v)\.?names?"
)
"""Names that pandas and R give to row numbers."""

_RECORDS = re.compile(
    "#|case|code|email|index|key|name|no|nr|number|obs|observation|rank|record|row|serial|title"
)
"""Names of columns that identify records where no two have the same."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|#")


def is_identifier(name: str) -> bool:
    """True for usual names of identifiers, which may be shared: `customer_id`, `PassengerId`.

    >>> [is_identifier(n) for n in ["PassengerId", "Individual ID", "Unnamed: 0", "humidity"]]
    [True, True, True, False]
    """
    words = [word.lower() for word in _WORD.findall(name)]
    plain = name.strip().lower()
    return (
        (bool(words) and words[-1] in _IDENTIFIERS)
        or _JOINED.fullmatch("".join(words)) is not None
        or _LEVEL.fullmatch(plain) is not None
    )


def is_invented(name: str) -> bool:
    """True for names that pandas and R give to row numbers: `Unnamed: 0`, `__index_level_0__`."""
    return _LEVEL.fullmatch(name.strip().lower()) is not None


def names_records(name: str) -> bool:
    """True for usual names of columns that identify records, where no two have the same value."""
    return is_identifier(name) or _RECORDS.fullmatch(name.strip().lower()) is not None


def numbering(numbers: NDArray[np.float64]) -> str | None:
    """Say how numbers without gaps or repetitions number the records; None where they do not.

    Args:
        numbers: (n,) in the order of the records, finite.

    Example:
        >>> numbering(np.arange(10)[::-1] + 1.0)
        'has each number from 1 to 10 once'
        >>> numbering(np.minimum(np.arange(10), 8.0)) is None
        True
    """
    n = len(numbers)
    if n < FEWEST or not (np.rint(numbers) == numbers).all():
        return None
    ordered = np.sort(numbers)
    steps = np.diff(ordered)
    if steps.min() == 0:
        return None
    first, last, step = ordered[0], ordered[-1], steps[0]
    in_order = bool((np.diff(numbers) > 0).all() or (np.diff(numbers) < 0).all())
    if (steps == step).all() and (step == 1 or in_order):
        by = "" if step == 1 else f" in steps of {step:.0f}"
        return f"has each number from {first:.0f} to {last:.0f}{by} once"
    if in_order and n >= DENSE * (last - first + 1) and n >= 2 * FEWEST:
        return f"counts the records from {first:.0f} to {last:.0f}, with gaps"
    return None


def dating(days: NDArray[np.float64]) -> bool:
    """True for dates of records in their order, one each: daily, monthly or other regular ones.

    Args:
        days: (n,) in the order of the records, finite.
    """
    steps = np.diff(days)
    if len(days) < FEWEST or not ((steps > 0).all() or (steps < 0).all()):
        return False
    steps = np.abs(steps)
    return bool(steps.max() <= GAPS * np.median(steps))
