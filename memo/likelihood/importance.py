"""log p(x) by importance sampling over the latent variables."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memo.models import LatentVariableModel

__all__ = ["LogLikelihood", "importance_log_likelihood", "log_mean_exp"]

CACHE_FLOATS = 1 << 18
"""Decoder outputs held at a time on a CPU, in floats: one megabyte, so that a core's cache fits."""

ACCELERATOR_FLOATS = 1 << 26
"""The same on a GPU."""


@dataclass(frozen=True)
class LogLikelihood:
    """Estimates of log p(x) for n observations, in nats; each array is (n,), float64."""

    value: NDArray[np.float64]
    std_error: NDArray[np.float64]
    effective_sample_size: NDArray[np.float64]


@torch.no_grad()
def importance_log_likelihood(
    model: LatentVariableModel, x: Tensor, samples: int, generator: torch.Generator
) -> LogLikelihood:
    """log mean of p(x, z) / q(z | x) over draws from the encoder (Burda et al. 2016, eq. 8).

    Args:
        model: The latent-variable model.
        x: Observations, (n, *shape), on the model's device.
        samples: Draws for each observation.
        generator: Source of the draws, on the CPU, so that they do not depend on the device.
    """
    estimates = [
        log_mean_exp(_log_weights(model, rows, samples, generator)) for rows in _chunks(x, samples)
    ]
    return LogLikelihood(
        *(np.concatenate([getattr(e, field) for e in estimates]) for field in _FIELDS)
    )


_FIELDS = ("value", "std_error", "effective_sample_size")


def log_mean_exp(log_weights: Tensor) -> LogLikelihood:
    """The log of the mean weight, its standard error, and the effective sample size.

    The standard error is the delta method's, sd(w) / (mean(w) sqrt(S)); the effective sample size
    is Kish's, (sum w)^2 / sum w^2 (Owen 2013, Monte Carlo theory, chapter 9).

    Args:
        log_weights: (S, n), S at least 2.
    """
    log_weights = log_weights.to("cpu", torch.float64)
    samples = log_weights.shape[0]
    value = torch.logsumexp(log_weights, 0) - math.log(samples)
    relative = torch.exp(log_weights - value)
    std_error = relative.std(0, correction=1) / math.sqrt(samples)
    effective = relative.sum(0).square() / relative.square().sum(0)
    return LogLikelihood(value.numpy(), std_error.numpy(), effective.numpy())


def _log_weights(
    model: LatentVariableModel, x: Tensor, samples: int, generator: torch.Generator
) -> Tensor:
    mean, log_std = model.encode(x)
    noise = torch.randn(samples, *mean.shape, generator=generator).to(x.device)
    z = mean + torch.exp(log_std) * noise
    log_likelihood = model.observation.log_prob(x, model.decode(z))
    log_prior_minus_proposal = 0.5 * (noise.square() - z.square()).sum(-1) + log_std.sum(-1)
    return log_likelihood + log_prior_minus_proposal


def _chunks(x: Tensor, samples: int) -> Iterator[Tensor]:
    budget = CACHE_FLOATS if x.device.type == "cpu" else ACCELERATOR_FLOATS
    rows = max(1, budget // (samples * x[0].numel()))
    return (x[start : start + rows] for start in range(0, len(x), rows))
