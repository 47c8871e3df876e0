"""The noise of scores, as a function of the true score.

The noise of what is memorized most is larger than that of the rest, so the true score, which is
not known, says something of the noise. Variances at a true score m are taken to be
s0^2(m) d0 / chi^2(d0) (Smyth 2004, section 3, with a level that is a function of m); s0 and d0 are
fitted by expectation-maximization over true scores in cells.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy

from memo.scores.aggregate import FloatArray
from memo.scores.significance import natural_spline, prior_freedom

ROUNDS = 12
"""Rounds of expectation-maximization."""

STEPS = 15
"""Steps for the weights of the mixture in each."""

KNOTS = (0.02, 0.5, 0.9, 0.98)
"""Knots of the level, as quantiles of the true scores."""


@dataclass(frozen=True)
class Noise:
    """Distribution of a score and its standard error given the true score."""

    true: FloatArray
    """True scores that it is known at, (cells,)."""
    log_level: FloatArray
    """log s0^2 at these, (cells,)."""
    freedom: float
    """Degrees of freedom of each standard error."""
    prior_freedom: float
    """d0: infinite where variances differ by no more than their estimation explains."""

    def likelihood(self, memorization: FloatArray, std_error: FloatArray) -> FloatArray:
        """Density of scores with their standard errors, up to a factor for each, (n, cells).

        The density of s^2, which is s0^2 F(d, d0), times that of the score given s^2, which is t
        with d + d0 degrees of freedom and the moderated variance.

        Args:
            memorization: (n,).
            std_error: (n,), above 0.
        """
        d, prior = self.freedom, self.prior_freedom
        level = np.exp(self.log_level)
        ratio = np.square(std_error)[:, None] / level
        distance = np.square(memorization[:, None] - self.true)
        if math.isinf(prior):
            log_density = d / 2 * (np.log(ratio) - ratio) - (self.log_level + distance / level) / 2
        else:
            total = prior + d
            variance = level * (prior + d * ratio) / total
            log_density = d / 2 * np.log(ratio) - total / 2 * np.log1p(d / prior * ratio)
            log_density -= np.log(variance) / 2
            log_density -= (total + 1) / 2 * np.log1p(distance / variance / total)
        return np.asarray(np.exp(log_density - log_density.max(1, keepdims=True)))


def fit_noise(
    memorization: FloatArray,
    std_error: FloatArray,
    freedom: float,
    true: FloatArray,
    shares: FloatArray,
) -> Noise:
    """Fit the level of the noise, together with a distribution of true scores.

    Args:
        memorization: (n,).
        std_error: (n,), above 0, each with `freedom` degrees of freedom.
        freedom: See there.
        true: Middles of cells, (cells,), ascending.
        shares: Distributions over cells that true scores are a mixture of, (cells, components).
    """
    half = freedom / 2
    logs = 2 * np.log(std_error) - scipy.special.digamma(half) + np.log(half)
    place = np.arcsinh(true / np.median(std_error))
    expected, squares = np.full_like(true, logs.mean()), float(logs.var())
    weights = np.full(shares.shape[1], 1 / shares.shape[1])
    for _ in range(ROUNDS):
        noise = _noise(true, expected, freedom, squares)
        likelihood = noise.likelihood(memorization, std_error)
        mixed = np.maximum(likelihood @ shares, np.finfo(float).tiny)
        for _ in range(STEPS):
            weights = weights * (mixed / (mixed @ weights)[:, None]).mean(0)
        member = likelihood * (shares @ weights)
        member /= member.sum(1, keepdims=True)
        counts = member.sum(0)
        cumulative = counts.cumsum() / counts.sum()
        knots = np.unique(np.interp(KNOTS, cumulative, place))
        if len(knots) < 2:
            break
        basis, root = natural_spline(place, knots), np.sqrt(counts)
        means = logs @ member / np.maximum(counts, np.finfo(float).tiny)
        fitted = np.linalg.lstsq(basis * root[:, None], means * root, rcond=None)[0]
        # Where few scores are, a spline may go anywhere; no level is beyond all that was seen.
        expected = np.clip(basis @ fitted, logs.min(), logs.max())
        spread = member * np.square(logs[:, None] - expected)
        squares = float(spread.sum() / max(len(logs) - len(knots), 1))
    return _noise(true, expected, freedom, squares)


def _noise(true: FloatArray, expected: FloatArray, freedom: float, squares: float) -> Noise:
    """The noise whose log variances have the expected means, and that variance around them."""
    prior, offset = prior_freedom(squares, freedom)
    return Noise(true, expected + offset, freedom, prior)
