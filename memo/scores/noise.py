"""The noise of scores, as a function of the true score.

The noise of what is memorized most is larger than that of the rest, so the true score, which is
not known, says something of the noise. Variances at a true score m are taken to be
s0^2(m) d0 / chi^2(d0) (Smyth 2004, section 3, with a level that is a function of m). With the true
score in one of some cells, s0 is fitted by expectation-maximization: steps of Fisher's scoring
towards the highest likelihood, as logarithms of estimated variances would let a few that are close
to 0 decide the level among the largest scores, which are few. d0 follows from the variance of these
logarithms. Fits are to observations in bins of like ones, so that they take no longer for many.

A few observations have noise of their own: in tables, models may be at odds about an odd record by
as much as they never are about others that are memorized as much. Their variances are taken to be
spread widely around one level at all true scores, `OWN_FREEDOM` being the d0 there; which ones they
are, and what their true scores are, is found with the rest. Were all noise to go by the true score,
theirs would be taken for a sign of a very high one (`benchmarks/README.md`).
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from memo.scores.aggregate import FloatArray
from memo.scores.significance import natural_spline, prior_freedom

ROUNDS = 15
"""Rounds of expectation-maximization of a first fit."""

STEPS = 15
"""Steps for the weights of the mixture in each."""

KNOTS = (0.05, 0.5, 0.95)
"""Knots of the level, as quantiles of the true scores."""

LARGEST_STEP = 1.0
"""Largest change of a log level in one round."""

OWN_FREEDOM = 2.0
"""d0 of variances that go by no level of others: these differ by a factor of ten as a rule."""

FIRST_OWN = 0.99
"""Noise of its own has, at first, e times this quantile of all variances."""

ERRORS_IN_A_BIN = 12
"""Bins of like standard errors that the observations of one bin of scores may be in."""


@dataclass(frozen=True)
class Alike:
    """Observations in bins of like scores and standard errors."""

    place: NDArray[np.int64]
    """Bin of each observation, (n,)."""
    memorization: FloatArray
    """Mean score of each bin, (bins,)."""
    variance: FloatArray
    """Mean squared standard error s^2 of each, (bins,)."""
    log_variance: FloatArray
    """Mean log s^2 of each, (bins,)."""
    within: FloatArray
    """Variance of log s^2 in each, (bins,)."""

    def count(self, rows: FloatArray) -> FloatArray:
        """Sum of the observations' weights in each bin, (bins,)."""
        return np.asarray(np.bincount(self.place, rows, len(self.memorization)), np.float64)


def alike(memorization: FloatArray, std_error: FloatArray, edges: FloatArray) -> Alike:
    """Put observations into bins.

    Args:
        memorization: (n,).
        std_error: (n,), above 0.
        edges: Ends of intervals that scores of one bin are in, ascending.
    """
    logs = 2 * np.log(std_error)
    ranks = np.argsort(np.argsort(logs, kind="stable"), kind="stable")
    both = np.searchsorted(edges, memorization) * ERRORS_IN_A_BIN
    both += ranks * ERRORS_IN_A_BIN // len(ranks)
    _, place, counts = np.unique(both, return_inverse=True, return_counts=True)
    columns = (memorization, np.square(std_error), logs)
    means = [np.bincount(place, values) / counts for values in columns]
    within = np.bincount(place, np.square(logs - means[2][place])) / counts
    return Alike(place, means[0], means[1], means[2], within)


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
    own_log_level: float
    """log s0^2 of observations that have noise of their own."""

    def likelihood(self, memorization: FloatArray, variance: FloatArray) -> FloatArray:
        """Density of scores with their standard errors, up to a factor for each, (n, 2 cells).

        Given its variance v, the score is normal and s^2 is v / d chi^2(d); v is integrated out.
        First come cells with noise that goes by their level, then the same with noise of its own.

        Args:
            memorization: (n,).
            variance: s^2, (n,), above 0.
        """
        squares = self._squares(memorization, variance)
        cells = len(self.true)
        log_density = np.empty((len(squares), 2 * cells))
        log_density[:, :cells] = self._log_density(squares, self.prior_freedom, self.log_level)
        log_density[:, cells:] = self._log_density(squares, OWN_FREEDOM, self.own_log_level)
        log_density -= log_density.max(1, keepdims=True)
        return np.asarray(np.exp(log_density, out=log_density))

    def _log_density(
        self, squares: FloatArray, prior: float, log_level: FloatArray | float
    ) -> FloatArray:
        """Log density of scores and their s^2 where v is s0^2 d0 / chi^2(d0)."""
        half = (self.freedom + 1) / 2
        if math.isinf(prior):
            return np.asarray(-squares / (2 * np.exp(log_level)) - half * log_level)
        total = prior / 2 + half
        scale = prior / 2 * np.exp(log_level)
        known = math.lgamma(total) - math.lgamma(prior / 2) + prior / 2 * np.log(scale)
        return np.asarray(known - total * np.log(scale + squares / 2))

    def steps(self, memorization: FloatArray, variance: FloatArray) -> FloatArray:
        """Steps of Fisher's scoring for the log level, by score and true score, (n, cells)."""
        k, prior = self.freedom + 1, self.prior_freedom
        ratio = self._squares(memorization, variance) / np.exp(self.log_level)
        if math.isinf(prior):
            return ratio / k - 1
        return (1 - (prior + k) / (prior + ratio)) * (prior + k + 2) / k

    def _squares(self, memorization: FloatArray, variance: FloatArray) -> FloatArray:
        """Sums of the d + 1 squares that tell of the variance, (n, cells)."""
        squares = np.square(memorization[:, None] - self.true)
        squares += self.freedom * variance[:, None]
        return squares


def fit_noise(
    scores: Alike,
    counts: FloatArray,
    shares: FloatArray,
    start: tuple[Noise, FloatArray],
    rounds: int = ROUNDS,
) -> tuple[Noise, FloatArray]:
    """Fit the level of the noise, together with a distribution of true scores.

    Args:
        scores: Observations in bins.
        counts: Weight of each bin, (bins,).
        shares: Distributions over cells that true scores are a mixture of, (2 cells, components);
            see `Noise.likelihood`.
        start: What to start from: noise, and weights of the components.
        rounds: Rounds of expectation-maximization.

    Returns:
        The noise, and the weights of the components.
    """
    noise, weights = start
    weighted = counts > 0
    mean, variance, log_variance, within = (
        column[weighted]
        for column in (scores.memorization, scores.variance, scores.log_variance, scores.within)
    )
    rows = counts[weighted] / counts.sum()
    scale = np.sqrt(rows @ variance)
    place = np.arcsinh(noise.true / scale)
    own_offset = _mean_log(noise.freedom) - _mean_log(OWN_FREEDOM)
    for _ in range(rounds):
        likelihood = noise.likelihood(mean, variance)
        mixed = np.maximum(likelihood @ shares, np.finfo(float).tiny)
        for _ in range(STEPS):
            weights = weights * ((rows / (mixed @ weights)) @ mixed)
        member = likelihood * (shares @ weights)
        member *= (rows / member.sum(1))[:, None]
        member, own = np.hsplit(member, 2)
        if not member.sum():
            break
        # as if one more had been seen at the level to start from: there may be none
        many = counts.sum()
        own_log_level = start[0].own_log_level + many * (
            own.sum(1) @ (log_variance - own_offset - start[0].own_log_level)
        ) / (1 + many * own.sum())
        member = member / member.sum()
        of_cells = member.sum(0)
        knots = np.unique(np.interp(KNOTS, of_cells.cumsum() / of_cells.sum(), place))
        if len(knots) < 2:
            break
        basis, root = natural_spline(place, knots), np.sqrt(of_cells)
        steps = noise.steps(mean, variance)
        towards = (member * steps).sum(0) / np.maximum(of_cells, np.finfo(float).tiny)
        towards = noise.log_level + np.clip(towards, -LARGEST_STEP, LARGEST_STEP)
        fitted = np.linalg.lstsq(basis * root[:, None], towards * root, rcond=None)[0]
        # Where few scores are, a spline may go anywhere; no level is beyond all that was seen.
        level = np.clip(basis @ fitted, log_variance.min(), log_variance.max())
        apart = log_variance[:, None] - level
        squares = (member * np.square(apart)).sum() - (member * apart).sum() ** 2
        prior, _ = prior_freedom(float(squares + member.sum(1) @ within), noise.freedom)
        noise = Noise(noise.true, level, noise.freedom, prior, float(own_log_level))
    return noise, weights


def first_noise(scores: Alike, counts: FloatArray, freedom: float, true: FloatArray) -> Noise:
    """Noise that is the same at all true scores and for all observations, to start from.

    Args:
        scores: Observations in bins.
        counts: Weight of each bin, (bins,).
        freedom: Degrees of freedom of each standard error.
        true: Middles of cells, (cells,), ascending.
    """
    level = np.log(np.average(scores.variance, weights=counts))
    own = float(np.log(np.quantile(scores.variance, FIRST_OWN)) + 1)
    return Noise(true, np.full_like(true, level), freedom, math.inf, own)


def _mean_log(freedom: float) -> float:
    """Mean of log(chi^2(d) / d)."""
    return float(scipy.special.digamma(freedom / 2) - np.log(freedom / 2))
