"""True scores, as far as noisy ones tell: adaptive shrinkage.

The largest of many noisy scores is too large, and so are high quantiles of them. Here the true
scores are taken to be draws from one distribution, about which nothing is assumed but that it has
one peak; observed scores are these with noise, whose size may grow with the true score, or be a
few observations' own, whose true scores have a distribution of their own (`noise.py`). A
distribution with a peak at c is a mixture of uniform ones that have an end at c (Stephens 2017,
section 2, with half-uniform components); halves of normal ones with a mean of c are components as
well, since a tail in steps that are wider than the noise would shrink too little. Their weights
have a Dirichlet prior, and are drawn together with the true scores by Gibbs sampling, in short
chains. Each starts from a fit of the noise and the weights to reweighted observations (Newton &
Raftery 1994), so that intervals see how roughly the noise and the distribution are known. The
peak is drawn from its profile likelihood.

Neither the distribution nor the noise is quite what it is taken to be. Where observations are many,
these would be drawn ever more closely around values that are a little off, and intervals of
quantiles would be too narrow. So each chain learns them from another part of the observations, of
limited size: a bagged posterior (Huggins & Miller 2019, arXiv:1912.07104, section 2).

The noise of different observations is taken to be independent.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray

from memo.scores.aggregate import FloatArray
from memo.scores.intervals import LEVEL
from memo.scores.noise import alike, first_noise, fit_noise
from memo.scores.statistics import Statistic

DRAWS = 200
"""Draws from the posterior, in chains of `KEPT`."""

BURN_IN, KEPT = 40, 4
"""Gibbs steps of a chain that are left out, and that are kept; after fewer, draws are too alike."""

ENOUGH = 500
"""Observations that one chain learns noise and distribution from. Of 5,000 simulated scores, the
interval of the median held it in 60 to 93% of studies where chains learned from all of them
(`benchmarks/README.md`)."""

CELLS = 160
"""Cells that true scores are drawn in; they are wider further from 0."""

RATIO = 1.6
"""Ratio of the widths of two neighbouring components of a kind."""

NARROWEST = 1 / 6
"""Width of the narrowest component, in median standard errors."""

WEIGHT = 0.5
"""Parameter of the Dirichlet prior of the components' weights."""

PEAKS = 11
"""Places that the peak may be at, beside 0."""

REFITS = 3
"""Rounds of fitting noise and weights to reweighted observations, from where all of them lead."""

FITTING_STEPS = 60
"""Steps of expectation-maximization to weights that fit the scores."""

OWN = 0.02
"""Share of observations that have noise of their own, to start from."""

SMALLEST = 1e-300
"""Floor of a likelihood, where an observation is far from all that a component allows."""


@dataclass(frozen=True)
class Posterior:
    """Draws of the true scores of n observations, given the noisy ones."""

    draws: FloatArray
    """(draws, n), nats. Each row is one set of scores that the observed ones may come from."""

    @cached_property
    def mean(self) -> FloatArray:
        """Posterior means, (n,): shrunk scores."""
        return np.asarray(self.draws.mean(0))

    @cached_property
    def interval(self) -> tuple[FloatArray, FloatArray]:
        """Ends of 95% intervals of single true scores, (n,) each."""
        low, high = np.quantile(self.draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        return low, high

    def exceeding(self, threshold: float) -> FloatArray:
        """Posterior probabilities that the true scores are above a threshold, (n,)."""
        return np.asarray((self.draws > threshold).mean(0))

    def statistic(self, statistic: Statistic) -> FloatArray:
        """Draws of a statistic of the true scores, (draws,)."""
        return np.array([statistic(row) for row in self.draws])


def posterior(memorization: FloatArray, std_error: FloatArray, blocks: int) -> Posterior:
    """Draw true scores given noisy ones.

    Args:
        memorization: Scores, (n,), nats.
        std_error: Jackknife standard errors, (n,); zeros where scores are exact, which are then
            the true ones. Where an observation has none (NaN), it gets the median one.
        blocks: Blocks that the jackknife left out in turn, at least two; `blocks` - 1 degrees of
            freedom.

    Returns:
        The same draws for the same arguments.

    Raises:
        ValueError: No observation has a standard error.

    Example:
        Five hundred scores that are nothing but noise: the largest is not to be believed.

        >>> noise, ones = np.random.default_rng(0).normal(size=500), np.ones(500)
        >>> bool(noise.max() > 3), bool(posterior(noise, ones, blocks=10).mean.max() < 1.2)
        (True, True)
    """
    known = np.isfinite(std_error)
    if not known.any():
        raise ValueError("no score has a standard error")
    if not std_error[known].any():
        return Posterior(memorization[None])
    errors = np.where(known, std_error, np.median(std_error[known]))
    errors = np.maximum(errors, errors[errors > 0].min())
    edges = _cells(memorization, errors)
    scores = alike(memorization, errors, edges)
    counts = scores.count(np.ones(len(memorization)))
    narrowest = NARROWEST * float(np.median(errors))
    noise = first_noise(scores, counts, blocks - 1, (edges[1:] + edges[:-1]) / 2)
    shares = _shares(edges, 0.0, narrowest)
    noise, _ = fit_noise(scores, counts, shares, (noise, _first_weights(shares)))
    likelihood = noise.likelihood(scores.memorization, scores.variance)
    mixtures = [_shares(edges, float(peak), narrowest) for peak in _peaks(memorization)]
    fits = np.array([_fit(likelihood @ shares, counts) for shares in mixtures])
    chances = np.exp(fits - fits.max())
    rng = np.random.default_rng(len(memorization))
    draws = []
    for shares, chains in zip(
        mixtures, rng.multinomial(DRAWS // KEPT, chances / chances.sum()), strict=True
    ):
        if not chains:
            continue
        start = fit_noise(scores, counts, shares, (noise, _first_weights(shares)))
        for _ in range(chains):
            rows = np.arange(len(memorization))
            if len(rows) > ENOUGH:
                rows = rng.choice(rows, ENOUGH, replace=False)
            reweighted = np.zeros(len(memorization))
            reweighted[rows] = rng.exponential(size=len(rows))
            drawn, weights = fit_noise(scores, scores.count(reweighted), shares, start, REFITS)
            of_cells = drawn.likelihood(memorization, np.square(errors))
            draws.append(_chain(rng, of_cells, rows, edges, shares, weights))
    return Posterior(np.concatenate(draws))


def _cells(memorization: FloatArray, std_error: FloatArray) -> FloatArray:
    """Edges of cells that cover all that true scores may be, (CELLS + 1,)."""
    scale = np.median(std_error)
    low = min(1.3 * memorization.min(), 0.0) - scale
    high = max(1.3 * memorization.max(), 0.0) + scale
    return scale * np.sinh(
        np.linspace(np.arcsinh(low / scale), np.arcsinh(high / scale), CELLS + 1)
    )


def _peaks(memorization: FloatArray) -> FloatArray:
    low, high = np.quantile(memorization, [0.05, 0.6])
    return np.unique(np.concatenate([[0.0], np.linspace(min(0.0, low), max(0.0, high), PEAKS)]))


def _shares(edges: FloatArray, peak: float, narrowest: float) -> FloatArray:
    """Share of each component that lies in each cell, (2 CELLS, 2 components).

    The second half is of observations that have noise of their own.
    """
    columns = []
    for side in (-1, 1):
        outward = np.clip(side * (edges - peak), 0, None)
        widest = float(outward.max())
        if widest == 0:
            continue
        count = max(1, int(np.ceil(np.log(max(widest / narrowest, 1.0)) / np.log(RATIO))) + 1)
        for width in np.geomspace(min(narrowest, widest), widest, count):
            uniform = np.minimum(outward / width, 1)
            normal = scipy.special.erf(np.sqrt(1.5) * outward / width)  # of the same mean square
            columns += [np.abs(np.diff(part)) / part.max() for part in (uniform, normal)]
    return np.kron(np.eye(2), np.array(columns).T)


def _first_weights(shares: FloatArray) -> FloatArray:
    half = shares.shape[1] // 2
    return np.repeat([(1 - OWN) / half, OWN / half], half)


def fitted_weights(likelihood: FloatArray, of_rows: FloatArray | None = None) -> FloatArray:
    """Weights of a mixture of highest likelihood, nearly, by expectation-maximization.

    Args:
        likelihood: (n, components).
        of_rows: Weights of the observations, (n,), which sum to 1; alike when None.
    """
    rows = np.full(len(likelihood), 1 / len(likelihood)) if of_rows is None else of_rows
    weights = np.full(likelihood.shape[1], 1 / likelihood.shape[1])
    for _ in range(FITTING_STEPS):
        weights = weights * ((rows / (likelihood @ weights)) @ likelihood)
    return weights


def _fit(likelihood: FloatArray, counts: FloatArray) -> float:
    """Log-likelihood at the fitted weights."""
    floored = np.maximum(likelihood, SMALLEST)
    weights = fitted_weights(floored, counts / counts.sum())
    return float(counts @ np.log(floored @ weights))


def _chain(
    rng: np.random.Generator,
    likelihood: FloatArray,
    rows: NDArray[np.int64],
    edges: FloatArray,
    shares: FloatArray,
    weights: FloatArray,
) -> FloatArray:
    """Draw true scores in a short chain, (KEPT, n).

    Steps go from weights to components of some `rows` and back; true scores of all are drawn where
    they are kept.
    """
    count = len(likelihood)
    of_components = np.maximum(likelihood[rows] @ shares, SMALLEST)
    sides = likelihood.reshape(count, 2, CELLS)
    draws = np.empty((KEPT, count))
    for step in range(BURN_IN + KEPT):
        component = _choose(rng, of_components * weights)
        weights = rng.dirichlet(WEIGHT + np.bincount(component, minlength=shares.shape[1]))
        if step >= BURN_IN:
            chances = (shares @ weights).reshape(2, CELLS)
            side = _choose(rng, np.einsum("nsc,sc->ns", sides, chances))
            cell = _choose(rng, sides[np.arange(count), side] * chances[side])
            draws[step - BURN_IN] = edges[cell] + rng.random(count) * np.diff(edges)[cell]
    return draws


def _choose(rng: np.random.Generator, weights: FloatArray) -> NDArray[np.int64]:
    """Choose a column in each row, with probabilities proportional to weights, (n, k)."""
    cumulative = weights.cumsum(1)
    at = rng.random(len(weights)) * cumulative[:, -1]
    return np.asarray(np.minimum((cumulative < at[:, None]).sum(1), weights.shape[1] - 1))
