"""From importance weights to log p(x), its standard error, and whether to trust it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memo.spec.scoring_specs import LARGEST_PARETO_K

TAIL_DRAWS = 25
"""The fewest draws whose largest fifth, five weights, has a tail to fit."""

EQUAL = 1e-3
"""Nats within which all log weights are equal to rounding."""


@dataclass(frozen=True)
class LogLikelihood:
    """Estimates of log p(x) for n observations; each array is (n,).

    >>> estimate = LogLikelihood(
    ...     value=np.array([-2.0, -3.0]),
    ...     std_error=np.array([0.1, 0.6]),
    ...     effective_sample_size=np.array([30.0, 3.0]),
    ...     samples=np.array([32, 32]),
    ...     pareto_k=np.array([0.2, 0.3]),
    ... )
    >>> estimate.unreliable(tolerance=0.4)
    array([False,  True])
    """

    value: NDArray[np.float64]
    """log p(x), nats."""

    std_error: NDArray[np.float64]
    """Standard error of `value`, nats; 0 where log p(x) is exact."""

    effective_sample_size: NDArray[np.float64]
    """Kish's, (sum w)^2 / sum w^2, of the weights that `value` averages; 1 where it is exact."""

    samples: NDArray[np.int64]
    """Latent draws that the decoder was evaluated at; 0 where log p(x) is exact."""

    pareto_k: NDArray[np.float64]
    """Tail shape of the weights, see `pareto_k`: above 0.7 the standard error cannot be trusted.

    0 where no tail was fitted, because log p(x) is exact or was settled within few draws.
    """

    def unreliable(self, tolerance: float) -> NDArray[np.bool_]:
        """True for estimates not to trust, (n,): their error is above `tolerance` or not known."""
        return (self.std_error > tolerance) | (self.pareto_k > LARGEST_PARETO_K)

    def shifted(self, nats: float) -> "LogLikelihood":
        """The estimates in other units, in which all log p are so many nats higher."""
        return replace(self, value=self.value + nats)


def from_weights(log_weights: Tensor) -> LogLikelihood:
    """The estimates that S weights for each of n observations make: (S, n)."""
    value, std_error, effective = log_mean_exp(log_weights)
    samples = np.full(len(value), len(log_weights), dtype=np.int64)
    return LogLikelihood(value, std_error, effective, samples, pareto_k(log_weights))


def log_mean_exp(
    log_weights: Tensor,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The log of the mean weight, its standard error, and the effective sample size.

    The standard error is the delta method's, sd(w) / (mean(w) sqrt(S)); the effective sample size
    is Kish's, (sum w)^2 / sum w^2 (Owen 2013, Monte Carlo theory, chapter 9).

    Args:
        log_weights: (S, n), S at least 2.

    Returns:
        Three (n,).

    >>> value, std_error, effective = log_mean_exp(torch.tensor([[1.0], [3.0]]).log())
    >>> bool(np.isclose(value, math.log(2))), bool(np.isclose(effective, 16 / 10))
    (True, True)
    """
    log_weights = log_weights.detach().to("cpu", torch.float64)
    samples = log_weights.shape[0]
    value = torch.logsumexp(log_weights, 0) - math.log(samples)
    relative = torch.exp(log_weights - value)
    std_error = relative.std(0, correction=1) / math.sqrt(samples)
    effective = relative.sum(0).square() / relative.square().sum(0)
    return value.numpy(), std_error.numpy(), effective.numpy()


def pareto_k(log_weights: Tensor) -> NDArray[np.float64]:
    """Shape of the generalized Pareto distribution of the largest weights: (S, n) -> (n,).

    Moments of the weights exist up to order 1 / k; above 0.7 neither the estimate nor its standard
    error is reliable at any practical number of draws (Vehtari et al. 2024, Pareto smoothed
    importance sampling, JMLR 25, section 3). The fit is ArviZ's. It is 0 for weights that are
    equal to rounding, and 1, no evidence of a finite mean, for fewer than `TAIL_DRAWS` draws.
    """
    rows = log_weights.detach().to("cpu", torch.float64).T.contiguous().numpy()
    if rows.shape[1] < TAIL_DRAWS:
        return np.ones(len(rows))
    shape = np.zeros(len(rows))
    draws = rows.shape[1]
    tail = math.ceil(min(draws / 5, 3 * math.sqrt(draws)))  # as ArviZ has it
    unequal = ~(np.ptp(rows, axis=1) < EQUAL)  # as weights that are no numbers are
    # ties at the top, as of numbers that lie far apart, are no tail to fit
    unequal &= ~(np.ptp(np.partition(rows, -tail, axis=1)[:, -tail:], axis=1) == 0)
    if unequal.any():
        from arviz_stats.base.array import array_stats  # noqa: PLC0415 -- it loads scipy.stats

        with np.errstate(divide="ignore", invalid="ignore"):  # by ties: no finite shape, see below
            _, shape[unequal] = array_stats.psislw(-rows[unequal])  # type: ignore[no-untyped-call]
    return np.where(np.isfinite(shape), shape, 1.0)


def concatenate(parts: Sequence[LogLikelihood]) -> LogLikelihood:
    """The estimates of consecutive observations as one.

    >>> one = from_weights(torch.zeros(4, 1))
    >>> concatenate([one, one]).effective_sample_size
    array([4., 4.])
    """
    return LogLikelihood(
        *(
            np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(LogLikelihood)
        )
    )
