"""Numbers in words: as many digits as their errors leave."""

import math
from typing import TypeGuard

MOST_DECIMALS = 6
NOTHING = 10.0**-MOST_DECIMALS / 2
"""Errors below it would be shown as zero."""


def number(value: float, significant: int = 3) -> str:
    """Format a number without an error, to so many significant digits."""
    return _fixed(value, _decimals(value, significant))


def percent(share: float) -> str:
    """Format a share of one as a percentage."""
    return f"{number(100 * share, 2)}%"


def estimate(value: float, std_error: float | None, unit: str = "") -> str:
    """Format a number with its error: two significant digits of the error decide the value's.

    >>> estimate(31.234, 1.27, "nats")
    '31.2 ± 1.3 nats'
    """
    return _with_unit(" ± ".join(_rounded(value, std_error)), unit)


def interval(value: float, low: float | None, high: float | None) -> str:
    """Format a number with its 95% interval, whose width decides the digits.

    >>> interval(0.31, 0.24, 0.38)
    '0.310 (95% interval 0.240 to 0.380)'
    """
    if low is None or high is None or not low < high:
        return number(value)
    decimals = _decimals((high - low) / 2, 2)
    ends = " to ".join(_fixed(end, decimals) for end in (low, high))
    return f"{_fixed(value, decimals)} (95% interval {ends})"


def difference_in_words(value: float, std_error: float | None, unit: str = "") -> str:
    """Tell the way a difference goes, and whether its error leaves that open."""
    if not math.isfinite(value):
        return "not defined"
    if value == 0 and not std_error:
        return "no difference"
    size = _with_unit(_rounded(abs(value), std_error)[0], unit)
    way = f"{'higher' if value > 0 else 'lower'} by {size}"
    if std_error == 0:
        return f"{way}; both are exact"
    if not _known(std_error):
        return f"{way}; without a standard error this may be chance"
    if abs(value) > 2 * std_error:
        return f"{way}; more than two standard errors"
    return f"{way}; within two standard errors, so it may be chance"


def _rounded(value: float, std_error: float | None) -> tuple[str, ...]:
    if not _known(std_error) or not math.isfinite(value) or std_error < NOTHING:
        return (number(value),)
    decimals = _decimals(std_error, 2)
    return _fixed(value, decimals), _fixed(std_error, decimals)


def _known(std_error: float | None) -> TypeGuard[float]:
    return std_error is not None and math.isfinite(std_error) and std_error > 0


def _decimals(value: float, significant: int) -> int:
    if value == 0 or not math.isfinite(value):
        return 0
    return min(MOST_DECIMALS, max(0, significant - 1 - math.floor(math.log10(abs(value)))))


def _fixed(value: float, decimals: int) -> str:
    if not math.isfinite(value):
        return "not defined"
    return f"{value:z,.{decimals}f}".replace("-", "−")


def _with_unit(text: str, unit: str) -> str:
    if not unit:
        return text
    if unit != "%":
        return f"{text} {unit}"
    return f"({text})%" if "±" in text else f"{text}%"
