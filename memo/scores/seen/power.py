"""Power of a number to tell the models of one experiment from those of another."""

from dataclasses import dataclass

import numpy as np
import scipy

from memo.scores.aggregate import FloatArray
from memo.scores.intervals import LEVEL, t_interval
from memo.scores.relation import Interval

FALSE_ALARMS = 0.05


@dataclass(frozen=True)
class ToldApart:
    """Models of a second experiment against those of a first, by a number that is higher in one."""

    higher: Interval
    """Probability that a model of the second has a higher number than one of the first, equal ones
    counted half: 0.5 where the number tells nothing."""
    power: Interval
    """Share of the second's models above the 95% quantile of the first's."""


def told_apart(first: FloatArray, second: FloatArray) -> ToldApart | None:
    """Compare the numbers of single models; models are taken to be independent.

    Args:
        first: (m,).
        second: (n,).

    Returns:
        None where either has fewer than two. The interval of the probability is that of DeLong,
        DeLong & Clarke-Pearson (1988) with Student's t, or, where all pairs agree, Clopper &
        Pearson's of as many trials as the fewer models; that of the power is Clopper & Pearson's,
        and takes the quantile to be known.

    Example:
        >>> found = told_apart(np.array([1.0, 2.0, 3.0]), np.array([2.5, 4.0, 5.0]))
        >>> round(found.higher.value, 4), round(found.power.value, 4)
        (0.8889, 0.6667)
    """
    fewest = min(len(first), len(second))
    if fewest < 2:
        return None
    wins = (second[:, None] > first) + 0.5 * (second[:, None] == first)
    value = float(wins.mean())
    variance = wins.mean(0).var(ddof=1) / len(first) + wins.mean(1).var(ddof=1) / len(second)
    low, high = t_interval(value, float(np.sqrt(variance)), fewest - 1)
    if value in (0, 1):
        low, high = _exact(value * fewest, fewest)
    above = float((second > np.quantile(first, 1 - FALSE_ALARMS)).sum())
    return ToldApart(
        Interval(value, max(0.0, low), min(1.0, high)),
        Interval(above / len(second), *_exact(above, len(second))),
    )


def _exact(count: float, of: int) -> tuple[float, float]:
    found = scipy.stats.binomtest(round(count), of).proportion_ci(LEVEL, method="exact")
    return float(found.low), float(found.high)
