"""Tests of single scores against zero."""

import math

import numpy as np
import scipy
from numpy.typing import NDArray

from memo.scores.aggregate import FloatArray

FEWEST_FOR_A_TREND = 50
"""Fewest observations for which the common level of standard errors may be a function."""

KNOTS = (0.02, 0.25, 0.5, 0.75, 0.9, 0.98)
"""Knots of that function, as quantiles."""

APART = 0.05
"""False discovery rate at which standard errors are taken to be unlike the others."""

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
    with np.errstate(over="ignore"):  # where no error is above 0
        p_values = scipy.stats.t.sf(memorization / moderated, freedom)
    return np.asarray(scipy.stats.false_discovery_control(p_values, method="bh") <= rate)


def moderated_std_error(
    std_error: FloatArray, freedom: float | FloatArray, along: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Standard errors drawn towards their common level (Smyth 2004, sections 4 and 6.2).

    Variances are taken to be s0^2 d0 / chi^2(d0) across observations; d0 and s0 are fitted to the
    mean and the variance of log s^2. With `along`, s0 is a smooth function of it, as the noise of
    what is memorized most is larger than that of the rest (Law et al. 2014, "limma-trend"). An
    error that is too large for that, at a false discovery rate of `APART`, stays as it is (compare
    Phipson et al. 2016, "Robust hyperparameter estimation", who draw it less).

    Args:
        std_error: (n,); zeros are raised to the smallest positive one.
        freedom: Degrees of freedom of each: one number, or (n,).
        along: What the level may depend on, (n,); needs at least `FEWEST_FOR_A_TREND`.

    Returns:
        The moderated standard errors and their degrees of freedom, (n,) each.

    Example:
        Three hundred errors that are alike but for chance, and one that is not:

        >>> errors = np.sqrt(np.random.default_rng(0).chisquare(4, 301) / 4)
        >>> errors[-1] = 9.0
        >>> moderated, freedom = moderated_std_error(errors, 4)
        >>> bool(np.ptp(moderated[:-1]) < 0.5 * np.ptp(errors[:-1]))
        True
        >>> round(float(moderated[-1]), 6), float(freedom[-1])
        (9.0, 4.0)
    """
    own = np.broadcast_to(np.asarray(freedom, np.float64), std_error.shape)
    positive = std_error[std_error > 0]
    if not len(positive):
        return np.full_like(std_error, np.finfo(float).tiny), own.copy()
    variance = np.square(np.maximum(std_error, positive.min()))
    half = own / 2
    centred = np.log(variance) - scipy.special.digamma(half) + np.log(half)
    expected, parameters = _trend(centred, along)
    if len(centred) <= parameters:
        return np.exp(expected / 2), np.full_like(own, own.sum())
    squares = np.square(centred - expected).sum() / (len(centred) - parameters)
    prior, offset = prior_freedom(float(squares), own)
    level = np.exp(expected + offset)
    prior = min(prior, float(own.sum()))
    tail = scipy.stats.f.sf(variance / level, own, prior)
    apart = scipy.stats.false_discovery_control(tail, method="bh") <= APART
    priors = np.where(apart, 0.0, prior)
    return np.sqrt((priors * level + own * variance) / (priors + own)), priors + own


def prior_freedom(
    squares: float, freedom: float | FloatArray | NDArray[np.int64]
) -> tuple[float, float]:
    """Degrees of freedom d0 of the distribution of variances over observations.

    Args:
        squares: Variance of log s^2 around its mean.
        freedom: Degrees of freedom of each s^2; (n,) where they differ.

    Returns:
        d0, infinite where estimating s^2 explains all of `squares`; and log s0^2 minus the mean of
        log s^2, which is corrected for its own bias.
    """
    spread = squares - float(np.mean(scipy.special.polygamma(1, freedom / 2)))
    if spread <= 0:
        return math.inf, 0.0
    half = _inverse_trigamma(spread)
    return 2 * half, float(scipy.special.digamma(half) - np.log(half))


def _trend(values: FloatArray, along: FloatArray | None) -> tuple[FloatArray, int]:
    """A smooth function of `along` fitted to values, (n,), and its number of parameters.

    A natural cubic spline in the inverse hyperbolic sine of `along`, with knots at its quantiles.
    """
    if along is None or len(values) < FEWEST_FOR_A_TREND or np.ptp(along) == 0:
        return np.full_like(values, values.mean()), 1
    middle = np.median(along)
    scale = np.median(np.abs(along - middle)) or np.ptp(along)
    place = np.arcsinh((along - middle) / scale)
    knots = np.unique(np.quantile(place, KNOTS))
    if len(knots) < 2:
        return np.full_like(values, values.mean()), 1
    basis = natural_spline(place, knots)
    return basis @ np.linalg.lstsq(basis, values, rcond=None)[0], basis.shape[1]


def natural_spline(place: FloatArray, knots: FloatArray) -> FloatArray:
    """A basis of natural cubic splines (Hastie, Tibshirani & Friedman 2009, section 5.2.1).

    Args:
        place: Where, (n,).
        knots: Two or more, ascending; splines are straight lines beyond the first and the last.

    Returns:
        Values of the basis, (n, knots).
    """
    first, last = knots[0], knots[-1]
    place, knots = (place - first) / (last - first), (knots - first) / (last - first)
    cubes = np.maximum(place[:, None] - knots, 0) ** 3
    curved = (cubes[:, :-1] - cubes[:, -1:]) / (1 - knots[:-1])
    return np.column_stack([np.ones_like(place), place, curved[:, :-1] - curved[:, -1:]])


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
