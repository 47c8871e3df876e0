"""log p(x) by importance sampling, with the encoder as the proposal."""

import math

import torch
from torch import Tensor

from memo.likelihood.decoding import log_joint
from memo.likelihood.importance_weights import LogLikelihood, concatenate, from_weights
from memo.models.protocols import LatentVariableModel

BLOCK = 64
"""Observations whose latent draws are held at a time."""


@torch.no_grad()
def importance_log_likelihood(
    model: LatentVariableModel, x: Tensor, samples: int, seed: int
) -> LogLikelihood:
    """log mean of p(x, z) / q(z | x) over draws from the encoder (Burda et al. 2016, eq. 8).

    Args:
        model: The latent-variable model.
        x: Observations, (n, *shape), on the model's device.
        samples: Draws for each observation.
        seed: Seed of the draws, which are made on the CPU and do not depend on the device.
    """
    generator = torch.Generator().manual_seed(seed)
    return concatenate(
        [
            from_weights(_log_weights(model, rows, samples, generator))
            for rows in torch.split(x, BLOCK)
        ]
    )


def _log_weights(
    model: LatentVariableModel, x: Tensor, samples: int, generator: torch.Generator
) -> Tensor:
    mean, log_std = model.encode(x)
    noise = torch.randn(samples, *mean.shape, generator=generator).to(mean)
    z = mean + torch.exp(log_std) * noise
    constant = 0.5 * mean.shape[-1] * math.log(2 * math.pi)
    log_proposal = -0.5 * noise.square().sum(-1) - log_std.sum(-1) - constant
    return log_joint(model, x, z) - log_proposal
