"""95% intervals of scores, and of statistics that are means over observations."""

import numpy as np
import scipy

from memo.scores.aggregate import FloatArray
from memo.scores.significance import moderated_std_error

LEVEL = 0.95
"""Share of intervals that should hold what they are for."""


def score_intervals(
    memorization: FloatArray, std_error: FloatArray, blocks: int
) -> tuple[FloatArray, FloatArray]:
    """Intervals of single scores: t-intervals with standard errors moderated over observations.

    Two or three repeats estimate each standard error only roughly; all observations together tell
    how much they vary (Smyth 2004).

    Args:
        memorization: (n,), nats.
        std_error: Jackknife standard errors, (n,); NaN where there is none, 0 where exact.
        blocks: Blocks that the jackknife left out in turn; 0 where standard errors are the
            likelihood estimator's alone, and known.

    Returns:
        Lower and upper ends, (n,) each; NaN where there is no standard error.

    Example:
        >>> low, high = score_intervals(np.zeros(3), np.array([0.0, 0.0, 0.0]), blocks=0)
        >>> low.tolist() == high.tolist() == [0.0, 0.0, 0.0]
        True
    """
    half = np.full_like(memorization, np.nan)
    half[std_error == 0] = 0.0
    known = std_error >= 0
    if not blocks:
        half[known] = scipy.stats.norm.ppf((1 + LEVEL) / 2) * std_error[known]
    elif (std_error[known] > 0).any():
        moderated, freedom = moderated_std_error(std_error[known], blocks - 1, memorization[known])
        half[known] = scipy.stats.t.ppf((1 + LEVEL) / 2, freedom) * moderated
    return memorization - half, memorization + half


def t_interval(value: float, std_error: float, freedom: float) -> tuple[float, float]:
    """Interval of an estimate with a standard error of so many degrees of freedom.

    Example:
        >>> low, high = t_interval(1.0, 0.5, float("inf"))
        >>> round(low, 2), round(high, 2)
        (0.02, 1.98)
    """
    half = float(scipy.stats.t.ppf((1 + LEVEL) / 2, freedom)) * std_error if std_error else 0.0
    return value - half, value + half
