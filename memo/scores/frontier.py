"""Trades between two quantities that no other beats, and tests of many differences at once."""

import numpy as np
import scipy
from numpy.typing import NDArray

from memo.scores.aggregate import FloatArray
from memo.scores.summaries import Estimate


def undominated(cost: FloatArray, gain: FloatArray) -> NDArray[np.bool_]:
    """Mark the Pareto-optimal points.

    Another point dominates one if it costs no more and gains no less, and is better in one of the
    two.

    Args:
        cost: (m,), where less is better.
        gain: (m,), where more is better.

    Returns:
        (m,), True where no other point dominates.

    Example:
        >>> undominated(np.array([1.0, 2.0, 2.0]), np.array([5.0, 6.0, 4.0])).tolist()
        [True, True, False]
    """
    no_worse = (cost[None] <= cost[:, None]) & (gain[None] >= gain[:, None])
    better = (cost[None] < cost[:, None]) | (gain[None] > gain[:, None])
    return np.asarray(~(no_worse & better).any(1))


def p_value(difference: Estimate, freedom: float) -> float | None:
    """Two-sided p-value of a difference of zero, by Student's t; None without a standard error.

    Example:
        With one degree of freedom t is Cauchy's, of which half lies beyond -1 and 1.

        >>> round(p_value(Estimate(0.3, 0.3), freedom=1), 12)
        0.5
    """
    if difference.std_error is None:
        return None
    if difference.std_error == 0:
        return float(difference.value == 0)
    return float(2 * scipy.stats.t.sf(abs(difference.value) / difference.std_error, freedom))


def holm(p_values: list[float]) -> list[float]:
    """p-values adjusted for their number, so that the family-wise error rate holds (Holm 1979).

    The k-th smallest of m is multiplied by m - k + 1, and never falls below the ones before it.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    stepped = np.maximum.accumulate(np.asarray(p_values)[order] * factors)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted.tolist()
