"""Which trades between two quantities nothing beats, and which differences are more than chance."""

import numpy as np
import scipy
from numpy.typing import NDArray

from memo.scores.aggregate import FloatArray
from memo.scores.summaries import Estimate

__all__ = ["holm", "p_value", "undominated"]


def undominated(cost: FloatArray, gain: FloatArray) -> NDArray[np.bool_]:
    """Points that no other beats: none costs as little and gains as much, and one of them better.

    Args:
        cost: (m,), where less is better.
        gain: (m,), where more is better.
    """
    no_worse = (cost[None] <= cost[:, None]) & (gain[None] >= gain[:, None])
    better = (cost[None] < cost[:, None]) | (gain[None] > gain[:, None])
    return np.asarray(~(no_worse & better).any(1))


def p_value(difference: Estimate, freedom: float) -> float | None:
    """Two-sided p-value of a difference of zero, by Student's t; None without a standard error."""
    if difference.std_error is None:
        return None
    if difference.std_error == 0:
        return float(difference.value == 0)
    return float(2 * scipy.special.stdtr(freedom, -abs(difference.value) / difference.std_error))


def holm(p_values: list[float]) -> list[float]:
    """p-values adjusted for how many there are, so that any false one has the stated probability.

    Holm (1979): the k-th smallest of m times m - k + 1, never below the ones before it.
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    stepped = np.maximum.accumulate(np.asarray(p_values)[order] * factors)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted.tolist()
