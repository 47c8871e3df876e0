"""How rho, the ratio of distances, goes with memorization: what a claim about the two rests on."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from memo.scores.aggregate import FloatArray
from memo.scores.ranks import rank_correlation

__all__ = ["Interval", "MemorizationBin", "Relation", "relate"]

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
    """Their mean memorization; nats, as are the ends."""
    count: int
    ratio: Interval
    """Mean rho."""


@dataclass(frozen=True)
class Relation:
    """How rho goes with memorization.

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
    """How many observations were sampled exactly: their rho is above all others in ranks, and in
    no mean."""
    bins: list[MemorizationBin]


def relate(memorization: FloatArray, ratio: FloatArray, highly: NDArray[np.bool_]) -> Relation:
    """Statistics of rho over observations.

    Args:
        memorization: Scores, (n,), nats.
        ratio: rho, (n,); may be infinite.
        highly: Which are highly memorized, (n,).
    """
    finite = np.isfinite(ratio)
    groups = ratio[~highly & finite], ratio[highly & finite]
    regular, high = (_mean(group) if len(group) else None for group in groups)
    return Relation(
        rank_correlation=_rank_correlation(memorization, ratio),
        regular=regular,
        highly=high,
        difference=_difference(*groups),
        infinite=int((~finite).sum()),
        bins=_bins(memorization[finite], ratio[finite]),
    )


def _rank_correlation(x: FloatArray, y: FloatArray) -> Interval | None:
    """Spearman's, with Fisher's z and the standard error of Bonett & Wright (2000).

    sqrt((1 + r^2 / 2) / (n - 3)), which holds where neither variable is normal.
    """
    n = len(x)
    if n <= 3 or len(np.unique(x)) == 1 or len(np.unique(y)) == 1:
        return None
    r = rank_correlation(x, y)
    if abs(r) >= 1:
        return Interval(r, None, None)
    half = _normal_quantile() * np.sqrt((1 + r**2 / 2) / (n - 3))
    return Interval(r, float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half)))


def _mean(values: FloatArray) -> Interval:
    """The mean and Student's interval; no interval of one value."""
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, None, None)
    half = _student_quantile(len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return Interval(mean, float(mean - half), float(mean + half))


def _difference(first: FloatArray, second: FloatArray) -> Interval | None:
    """Mean of the second less that of the first, variances not taken to be equal."""
    if min(len(first), len(second)) == 0:
        return None
    value = float(second.mean() - first.mean())
    if min(len(first), len(second)) < 2:
        return Interval(value, None, None)
    parts = np.array([group.var(ddof=1) / len(group) for group in (first, second)])
    if not parts.sum():
        return Interval(value, value, value)
    sizes = np.array([len(first), len(second)])
    freedom = parts.sum() ** 2 / (parts**2 / (sizes - 1)).sum()
    half = _student_quantile(freedom) * np.sqrt(parts.sum())
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


def _student_quantile(freedom: float) -> float:
    return float(scipy.special.stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _normal_quantile() -> float:
    return float(scipy.special.ndtri((1 + CONFIDENCE) / 2))
