"""Numbers in words: as many digits as their intervals leave."""

import math

MOST_DECIMALS = 6
NOTHING = 10.0**-MOST_DECIMALS / 2
"""Intervals of half this width would be shown as without any."""


def number(value: float, significant: int = 3) -> str:
    """Format a number without an error, to so many significant digits."""
    return _fixed(value, _decimals(value, significant))


def scientific(value: float) -> str:
    """Format a small number, to two significant digits.

    >>> scientific(1e-5), scientific(0.02)
    ('1e-5', '0.02')
    """
    digits, _, power = f"{value:.2g}".partition("e")
    return f"{digits}e{int(power)}" if power else digits


def percent(share: float) -> str:
    """Format a share of one as a percentage."""
    return f"{number(100 * share, 2)}%"


def estimate(value: float, low: float | None, high: float | None, unit: str = "") -> str:
    """Format a number with its 95% interval in brackets, whose width decides the digits.

    Without an interval, or with one of no width, the number stands alone.

    >>> estimate(5.02, 3.94, 6.41, "nats")
    '5.0 [3.9, 6.4] nats'
    >>> estimate(5.02, None, None)
    '5.02'
    """
    known = _ends(value, low, high)
    if known is None:
        shown = f"{number(value)}{unit if unit == '%' else ''}"
    else:
        decimals = _decimals((known[1] - known[0]) / 2, 2)
        ends = ", ".join(_fixed(end, decimals) for end in known)
        shown = f"{_fixed(value, decimals)}{unit if unit == '%' else ''} [{ends}]"
    return f"{shown} {unit}" if unit not in ("", "%") else shown


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


def difference_in_words(value: float, low: float | None, high: float | None, unit: str = "") -> str:
    """Tell the way a difference goes, and whether its 95% interval leaves that open."""
    if not math.isfinite(value):
        return "not defined"
    exact = low is not None and low == high
    if value == 0 and (exact or low is None):
        return "no difference"
    gap = "" if unit in ("", "%") else " "
    way = f"{'higher' if value > 0 else 'lower'} by {_rounded(abs(value), low, high)}{gap}{unit}"
    if exact:
        return f"{way}; both are exact"
    if low is None or high is None:
        return f"{way}; without an interval this may be chance"
    if low > 0 or high < 0:
        return f"{way}; the interval is all on this side of 0"
    return f"{way}; the interval holds 0, so it may be chance"


def _rounded(value: float, low: float | None, high: float | None) -> str:
    known = _ends(value, low, high)
    if known is None:
        return number(value)
    return _fixed(value, _decimals((known[1] - known[0]) / 2, 2))


def _ends(value: float, low: float | None, high: float | None) -> tuple[float, float] | None:
    """Ends of an interval; None where there is nothing to be shown."""
    if low is None or high is None or not all(map(math.isfinite, (value, low, high))):
        return None
    return None if (high - low) / 2 < NOTHING else (low, high)


def _decimals(value: float, significant: int) -> int:
    if value == 0 or not math.isfinite(value):
        return 0
    return min(MOST_DECIMALS, max(0, significant - 1 - math.floor(math.log10(abs(value)))))


def _fixed(value: float, decimals: int) -> str:
    if not math.isfinite(value):
        return "not defined"
    return f"{value:z,.{decimals}f}".replace("-", "−")
