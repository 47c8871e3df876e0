"""Tests of single scores against zero."""

import numpy as np
import scipy
from numpy.typing import NDArray

from memo.scores.aggregate import FloatArray

PRECISION = 1e-9
"""Relative size of Newton's last step; the error that is left is about its square."""


def significantly_positive(
    memorization: FloatArray, std_error: FloatArray, blocks: int, rate: float = 0.05
) -> NDArray[np.bool_]:
    """Mark the observations whose score is above zero, at a false discovery rate.

    One-sided t-tests with standard errors moderated across observations, since two or three
    repeats estimate each one only roughly; then Benjamini & Hochberg (1995).

    Args:
        memorization: Scores, (n,).
        std_error: Jackknife standard errors of the scores, (n,).
        blocks: Blocks that the jackknife left out in turn; `blocks` - 1 degrees of freedom.
        rate: Expected share of false discoveries among the observations marked.

    Returns:
        (n,).

    Example:
        >>> significantly_positive(np.array([9.0, 0.5, -9.0]), np.ones(3), blocks=10).tolist()
        [True, False, False]
    """
    moderated, freedom = moderated_std_error(std_error, blocks - 1)
    p_values = scipy.stats.t.sf(memorization / moderated, freedom)
    return np.asarray(scipy.stats.false_discovery_control(p_values, method="bh") <= rate)


def moderated_std_error(std_error: FloatArray, freedom: int) -> tuple[FloatArray, float]:
    """Standard errors drawn towards their common level (Smyth 2004, sections 4 and 6.2).

    Variances are taken to be s0^2 d0 / chi^2(d0) across observations; d0 and s0 are fitted to the
    mean and the variance of log s^2.

    Args:
        std_error: (n,), each with `freedom` degrees of freedom; zeros are raised to the smallest
            positive one.
        freedom: Degrees of freedom of each.

    Returns:
        The moderated standard errors, (n,), and their degrees of freedom.
    """
    positive = std_error[std_error > 0]
    if not len(positive):
        return np.full_like(std_error, np.finfo(float).tiny), float(freedom)
    variance = np.square(np.maximum(std_error, positive.min()))
    half = freedom / 2
    centred = np.log(variance) - scipy.special.digamma(half) + np.log(half)
    spread = centred.var(ddof=1) - scipy.special.polygamma(1, half) if len(centred) > 1 else 0.0
    if spread <= 0:
        common = np.full_like(variance, np.exp(centred.mean()))
        return np.sqrt(common), float(freedom * len(variance))
    prior_freedom = 2 * _inverse_trigamma(float(spread))
    level = np.exp(
        centred.mean() + scipy.special.digamma(prior_freedom / 2) - np.log(prior_freedom / 2)
    )
    total = prior_freedom + freedom
    return np.sqrt((prior_freedom * level + freedom * variance) / total), float(total)


def _inverse_trigamma(value: float) -> float:
    """y with trigamma(y) = value, by Newton's steps on 1 / trigamma (Smyth 2004, appendix).

    1 / trigamma is convex and the start lies above y, so that steps only go down.
    """
    y = 0.5 + 1 / value
    step = -y
    while -step > PRECISION * y:
        trigamma = scipy.special.polygamma(1, y)
        step = trigamma * (1 - trigamma / value) / scipy.special.polygamma(2, y)
        y += step
    return float(y)
