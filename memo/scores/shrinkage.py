"""True scores, as far as noisy ones tell: adaptive shrinkage.

The largest of many noisy scores is too large, and so are high quantiles of them. Here the true
scores are taken to be draws from one distribution, about which nothing is assumed but that it has
one peak; observed scores are these with noise, whose size may grow with the true score. A
distribution with a peak at c is a mixture of uniform ones that have an end at c (Stephens 2017,
section 2, with half-uniform components). Their weights have a flat Dirichlet prior, and are drawn
together with the true scores by Gibbs sampling, in short chains that start from fits to reweighted
observations (Newton & Raftery 1994), so that intervals see how roughly the distribution itself is
known. The peak is drawn from its profile likelihood.

The noise of different observations is taken to be independent.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from memo.scores.aggregate import FloatArray
from memo.scores.intervals import LEVEL
from memo.scores.noise import fit_noise
from memo.scores.statistics import Statistic

DRAWS = 200
"""Draws from the posterior, in chains of `KEPT`."""

BURN_IN, KEPT = 4, 4
"""Gibbs steps of a chain that are left out, and that are kept."""

CELLS = 160
"""Cells that true scores are drawn in; they are wider further from 0."""

RATIO = 1.6
"""Ratio of the widths of two neighbouring components."""

WEIGHT = 1.0
"""Parameter of the Dirichlet prior of the components' weights."""

PEAKS = 11
"""Places that the peak may be at, beside 0."""

FOR_THE_SHAPE = 1500
"""Most observations, spread evenly over their ranks, that noise and peak are found from."""

FITTING_STEPS = 60
"""Steps of expectation-maximization to weights that fit the scores."""

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
        >>> bool(noise.max() > 3), bool(posterior(noise, ones, blocks=10).mean.max() < 1)
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
    narrowest = float(np.quantile(errors, 0.1) / 4)
    some = _spread(memorization)
    noise = fit_noise(
        memorization[some],
        errors[some],
        blocks - 1,
        (edges[1:] + edges[:-1]) / 2,
        _shares(edges, 0.0, narrowest),
    )
    likelihood = noise.likelihood(memorization, errors)
    rng = np.random.default_rng(len(memorization))
    mixtures = [_shares(edges, float(peak), narrowest) for peak in _peaks(memorization)]
    fits = np.array([_fit(likelihood[some] @ shares) for shares in mixtures])
    chances = np.exp((fits - fits.max()) * len(memorization))
    chains = rng.multinomial(DRAWS // KEPT, chances / chances.sum())
    draws = [
        _chain(rng, likelihood, edges, shares)
        for shares, count in zip(mixtures, chains, strict=True)
        for _ in range(count)
    ]
    return Posterior(np.concatenate(draws))


def _spread(memorization: FloatArray) -> NDArray[np.int64]:
    """Places of at most `FOR_THE_SHAPE` scores, spread evenly over their ranks."""
    count = len(memorization)
    ranks = np.linspace(0, count - 1, min(count, FOR_THE_SHAPE)).astype(np.int64)
    return np.argsort(memorization, kind="stable")[ranks]


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
    """Share of each component that lies in each cell, (CELLS, components)."""
    columns = []
    for start, end in ((edges[0], peak), (peak, edges[-1])):
        widest = float(end - start)
        if widest <= 0:
            continue
        count = max(1, int(np.ceil(np.log(max(widest / narrowest, 1.0)) / np.log(RATIO))) + 1)
        for width in np.geomspace(min(narrowest, widest), widest, count):
            low, high = (peak - width, peak) if end == peak else (peak, peak + width)
            inside = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
            columns.append(np.clip(inside, 0, None) / width)
    return np.array(columns).T


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


def _fit(likelihood: FloatArray) -> float:
    """Mean log-likelihood at the fitted weights."""
    floored = np.maximum(likelihood, SMALLEST)
    return float(np.log(floored @ fitted_weights(floored)).mean())


def _chain(
    rng: np.random.Generator, likelihood: FloatArray, edges: FloatArray, shares: FloatArray
) -> FloatArray:
    """Draw true scores in a short chain, (KEPT, n)."""
    count = len(likelihood)
    rows = rng.exponential(size=count)
    weights = fitted_weights(np.maximum(likelihood @ shares, SMALLEST), rows / rows.sum())
    draws = np.empty((KEPT, count))
    for step in range(BURN_IN + KEPT):
        cell = _choose(rng, likelihood * (shares @ weights))
        counts = np.bincount(cell, minlength=len(shares))
        chances = shares * np.maximum(weights, SMALLEST)
        taken = counts > 0
        members = rng.multinomial(
            counts[taken], chances[taken] / chances[taken].sum(1, keepdims=True)
        )
        weights = rng.dirichlet(WEIGHT + members.sum(0))
        if step >= BURN_IN:
            draws[step - BURN_IN] = edges[cell] + rng.random(count) * np.diff(edges)[cell]
    return draws


def _choose(rng: np.random.Generator, weights: FloatArray) -> NDArray[np.int64]:
    """Choose a column in each row, with probabilities proportional to weights, (n, k)."""
    cumulative = weights.cumsum(1)
    at = rng.random(len(weights)) * cumulative[:, -1]
    return np.asarray(np.minimum((cumulative < at[:, None]).sum(1), weights.shape[1] - 1))
