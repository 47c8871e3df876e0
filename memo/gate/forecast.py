"""Forecast of the repeats that would decide, from the interval that there is.

The error of a mean over R repeats is proportional to 1 / sqrt(R), and so is, nearly, that of every
statistic here: more repeats train more models, and average out what differs between trainings. An
interval reaches from the value by a multiple of the error: by Student's t where R alone tells the
error, by a multiple that does not depend on R otherwise. If the true value is as measured, R
repeats decide with a chance of `POWER` where the limit is further away than the interval reaches
and the value itself scatters,

    (t(R - 1) + z) error(R) <= |limit - value|,   z the `POWER` quantile of the normal distribution.
"""

from dataclasses import dataclass

import numpy as np
import scipy

from memo.scores.intervals import LEVEL
from memo.scores.summaries import Estimate

POWER = 0.8
"""Chance that so many repeats decide, if the true value is as measured."""

MOST = 1000
"""Repeats above which none are promised."""


@dataclass(frozen=True)
class Forecast:
    """Repeats that would decide, instead of those that there are."""

    repeats: int | None
    """None where more than `MOST` would be needed, or none help."""
    now: int


def repeats_needed(
    estimate: Estimate, limit: float, repeats: int, *, by_t: bool = False
) -> Forecast:
    """Forecast how many repeats would tell on which side of a limit a value lies.

    Args:
        estimate: With its 95% interval, which holds the limit.
        limit: In the estimate's unit.
        repeats: Repeats, or blocks of models, behind the interval; at least 2.
        by_t: True where the interval is Student's with `repeats` - 1 degrees of freedom.

    Raises:
        ValueError: There is no interval, or fewer repeats.

    Example:
        A limit at half the interval's reach needs four times the repeats, and more to be likely.

        >>> repeats_needed(Estimate(1.0, 0.51, 0.0, 2.0), 1.5, repeats=10)
        Forecast(repeats=82, now=10)
    """
    if estimate.low is None or estimate.high is None or repeats < 2:
        raise ValueError("a forecast needs an interval from two or more repeats")
    below = estimate.value <= limit
    reach = estimate.high - estimate.value if below else estimate.value - estimate.low
    distance = abs(limit - estimate.value)
    more = np.arange(repeats + 1, MOST + 1)
    factor = _factor(np.array([repeats]), by_t=by_t)[0]
    error = reach / factor * np.sqrt(repeats / more)
    chance = scipy.stats.norm.ppf(POWER)
    enough = (_factor(more, by_t=by_t) + chance) * error <= distance
    return Forecast(int(more[enough][0]) if enough.any() else None, repeats)


def _factor(repeats: np.ndarray, *, by_t: bool) -> np.ndarray:
    """Errors that an interval reaches to either side of the value."""
    level = (1 + LEVEL) / 2
    if by_t:
        return np.asarray(scipy.stats.t.ppf(level, repeats - 1))
    return np.full(len(repeats), scipy.stats.norm.ppf(level))
