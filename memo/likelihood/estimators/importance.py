"""log p(x) by importance sampling, with the encoder as the proposal."""

import math

import torch
from torch import Tensor

from memo.likelihood.decoding import log_joint
from memo.likelihood.weights import LogLikelihood, concatenate, log_mean_exp, pareto_k
from memo.models.protocols import LatentVariableModel

__all__ = ["importance_log_likelihood"]

BLOCK = 64
"""Observations whose latent draws are held at a time."""


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
    estimates = []
    for rows in torch.split(x, BLOCK):
        log_weights = _log_weights(model, rows, samples, generator)
        value, std_error, effective = log_mean_exp(log_weights)
        estimates.append(
            LogLikelihood(
                value.numpy(),
                std_error.numpy(),
                effective.numpy(),
                torch.full_like(value, samples, dtype=torch.int64).numpy(),
                pareto_k(log_weights),
            )
        )
    return concatenate(estimates)


def _log_weights(
    model: LatentVariableModel, x: Tensor, samples: int, generator: torch.Generator
) -> Tensor:
    mean, log_std = model.encode(x)
    noise = torch.randn(samples, *mean.shape, generator=generator).to(mean)
    z = mean + torch.exp(log_std) * noise
    constant = 0.5 * mean.shape[-1] * math.log(2 * math.pi)
    log_proposal = -0.5 * noise.square().sum(-1) - log_std.sum(-1) - constant
    return log_joint(model, x, z) - log_proposal
