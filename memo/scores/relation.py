"""Relation of a test's value of each observation, rho for one, to memorization."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from memo.scores.aggregate import FloatArray

CONFIDENCE = 0.95
BINS = 20
TAIL = (0.99, 0.999)
"""Further edges, as shares of the observations: claims about memorization are about its tail."""
FEWEST_IN_BIN = 10


class Interval(NamedTuple):
    """A number and its 95% confidence interval; the ends are None where it is not known."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class MemorizationBin:
    """Observations of similar memorization."""

    start: float
    end: float
    middle: float
    """Mean memorization of the bin; nats, as are the ends."""
    count: int
    ratio: Interval
    """Mean rho."""


@dataclass(frozen=True)
class Relation:
    """Statistics of rho and memorization over observations.

    Intervals take observations to be independent. They share one set of samples, so that another
    set would move all of them together by more than the intervals of means say; of the difference
    between groups and of the rank correlation most of that cancels.
    """

    rank_correlation: Interval | None
    """Spearman's; None where rho or memorization is the same for all, or there are too few."""
    regular: Interval | None
    """Mean rho of those not highly memorized; None where there are none."""
    highly: Interval | None
    """Mean rho of the highly memorized."""
    difference: Interval | None
    """Mean rho of the highly memorized less that of the others (Welch 1947)."""
    infinite: int
    """Number of observations that were sampled exactly: their rho is above all others in ranks,
    and in no mean."""
    bins: list[MemorizationBin]


def relate(memorization: FloatArray, ratio: FloatArray, highly: NDArray[np.bool_]) -> Relation:
    """Statistics of rho over observations.

    Args:
        memorization: Scores, (n,), nats.
        ratio: rho, (n,); may be infinite.
        highly: Marks of the highly memorized, (n,).

    Example:
        >>> m = np.arange(6.0)
        >>> found = relate(m, m**2, highly=m > 3)
        >>> found.rank_correlation.value, found.highly.value - found.regular.value
        (1.0, 17.0)
    """
    finite = np.isfinite(ratio)
    regular, high = ratio[~highly & finite], ratio[highly & finite]
    return Relation(
        rank_correlation=rank_correlation(memorization, ratio),
        regular=_mean(regular) if len(regular) else None,
        highly=_mean(high) if len(high) else None,
        difference=_difference(regular, high),
        infinite=int((~finite).sum()),
        bins=_bins(memorization[finite], ratio[finite]),
    )


def rank_correlation(x: FloatArray, y: FloatArray) -> Interval | None:
    """Spearman's, with Fisher's z and the standard error of Bonett & Wright (2000).

    sqrt((1 + r^2 / 2) / (n - 3)), which holds where neither variable is normal.

    Args:
        x: (n,).
        y: (n,); either may be infinite.

    Returns:
        None of fewer than four, or where one of both is the same for all; no interval of ranks that
        agree altogether.

    Example:
        >>> rank_correlation(np.arange(9.0), np.arange(9.0) ** 2)
        Interval(value=1.0, low=None, high=None)
    """
    n = len(x)
    if n <= 3 or len(np.unique(x)) == 1 or len(np.unique(y)) == 1:
        return None
    r = float(scipy.stats.spearmanr(x, y).statistic)
    if abs(r) >= 1:
        return Interval(r, None, None)
    error = np.sqrt((1 + r**2 / 2) / (n - 3))
    low, high = np.tanh(scipy.stats.norm.interval(CONFIDENCE, np.arctanh(r), error))
    return Interval(r, float(low), float(high))


def _mean(values: FloatArray) -> Interval:
    """The mean and Student's interval; no interval of one value."""
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return Interval(mean, None, None)
    return _student(mean, values.std(ddof=1) / np.sqrt(count), count - 1)


def _difference(first: FloatArray, second: FloatArray) -> Interval | None:
    """Mean of the second less that of the first, by Welch's t without equal variances."""
    sizes = np.array([len(first), len(second)])
    if not sizes.all():
        return None
    value = float(second.mean() - first.mean())
    if sizes.min() < 2:
        return Interval(value, None, None)
    parts = np.array([first.var(ddof=1), second.var(ddof=1)]) / sizes
    if not parts.any():
        return Interval(value, value, value)
    freedom = parts.sum() ** 2 / (parts**2 / (sizes - 1)).sum()
    return _student(value, np.sqrt(parts.sum()), freedom)


def _student(value: float, std_error: float, freedom: float) -> Interval:
    half = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * std_error
    return Interval(value, float(value - half), float(value + half))


def _bins(memorization: FloatArray, ratio: FloatArray) -> list[MemorizationBin]:
    """Bins of equally many observations, ties kept together, and finer ones in the tail."""
    n = len(memorization)
    if not n:
        return []
    count = max(1, min(BINS, n // FEWEST_IN_BIN))
    shares = [i / count for i in range(1, count)]
    shares += [share for share in TAIL if n * (1 - share) >= FEWEST_IN_BIN]
    place = np.searchsorted(np.quantile(memorization, shares), memorization)
    return [
        MemorizationBin(
            start=float(memorization[chosen].min()),
            end=float(memorization[chosen].max()),
            middle=float(memorization[chosen].mean()),
            count=int(chosen.sum()),
            ratio=_mean(ratio[chosen]),
        )
        for chosen in (place == k for k in np.unique(place))
    ]
