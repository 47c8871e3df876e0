"""log p(x) by importance sampling from proposals made for each x, until it is precise enough."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memo.likelihood.decoding import log_joint
from memo.likelihood.mixture import Mixture
from memo.likelihood.search import component_at, first_proposal
from memo.likelihood.weights import LogLikelihood, concatenate, log_mean_exp, pareto_k
from memo.models import LatentVariableModel

__all__ = ["adaptive_log_likelihood"]

BLOCK = 256
"""Observations that are worked on together; a constant, since it keys the draws."""

FIRST_DRAWS = 64
"""Draws before a standard error is first looked at."""

TAIL_WORTH_FITTING = 256
"""Draws in an estimate from which on its Pareto k is fitted, if it is settled."""


@torch.no_grad()
def adaptive_log_likelihood(
    model: LatentVariableModel, x: Tensor, tolerance: float, max_samples: int, seed: int
) -> LogLikelihood:
    """log mean of p(x, z) / q(z), with q close to p(z | x) and as many draws as it takes.

    Draws are doubled until an observation's standard error is at most `tolerance`. When that was in
    vain, q gets one more Gaussian, found from the heaviest draw so far (as in Raftery & Bao 2010,
    Estimating and projecting trends in HIV/AIDS generalized epidemics using incremental mixture
    importance sampling, section 2), and the estimate starts afresh: no draw that shaped a proposal
    is averaged, so that under each q the mean weight is an unbiased estimate of p(x).

    Args:
        model: The latent-variable model.
        x: Observations, (n, *shape), on the model's device.
        tolerance: Standard error in nats at which an observation is settled.
        max_samples: The most draws for an observation; where they do not suffice, its standard
            error stays above the tolerance.
        seed: Draws depend on it and on an observation's position in x, and on nothing else.
    """
    blocks = torch.split(x, BLOCK)
    return concatenate(
        [
            _block(model, block, tolerance, max_samples, _generators(seed, position))
            for position, block in enumerate(blocks)
        ]
    )


def _block(
    model: LatentVariableModel,
    x: Tensor,
    tolerance: float,
    max_samples: int,
    generators: Iterator[torch.Generator],
) -> LogLikelihood:
    result = _nothing_known(len(x))
    active = np.arange(len(x))
    proposal = first_proposal(model, x, next(generators), BLOCK)
    stages = _stages(max_samples)
    for stage in stages:
        z, log_weights = x.new_empty(0, len(x), model.latent), x.new_empty(0, len(x))
        for size in stage:
            new = _draw(proposal, size, active, next(generators))
            new_weights = log_joint(model, x, new) - proposal.log_prob(new)
            z, log_weights = torch.cat([z, new]), torch.cat([log_weights, new_weights])
            result.samples[active] += size
            settled = _record(result, active, log_weights, tolerance)
            active, rows = active[~settled], torch.from_numpy(~settled).to(x.device)
            if not len(active):
                return result
            x, proposal, z, log_weights = x[rows], proposal[rows], z[:, rows], log_weights[:, rows]
        if stage is not stages[-1]:
            proposal = component_at(model, x, proposal, _heaviest(z, log_weights))
    result.pareto_k[active] = pareto_k(log_weights)
    return result


def _record(
    result: LogLikelihood, active: NDArray[np.int64], log_weights: Tensor, tolerance: float
) -> NDArray[np.bool_]:
    """Enter the estimates of the active observations, and say which of them are settled."""
    value, std_error, effective = (estimate.numpy() for estimate in log_mean_exp(log_weights))
    result.value[active] = value
    result.std_error[active] = std_error
    result.effective_sample_size[active] = effective
    settled: NDArray[np.bool_] = std_error <= tolerance
    if len(log_weights) >= TAIL_WORTH_FITTING:
        result.pareto_k[active[settled]] = pareto_k(log_weights[:, torch.from_numpy(settled)])
    return settled


def _stages(max_samples: int) -> list[list[int]]:
    """Numbers of draws, a list for each proposal: [32, 32], [64, 64], [128, 128] and so on.

    What is left of `max_samples` when a whole stage no longer fits goes to the last proposal.
    """
    stages = []
    size, left = FIRST_DRAWS, max_samples
    while left >= 2 * size:
        stages.append([size, size])
        left -= 2 * size
        size *= 2
    if not stages:
        return [[max_samples]]
    return [*stages[:-1], [*stages[-1], left]] if left else stages


def _draw(
    proposal: Mixture, size: int, active: NDArray[np.int64], generator: torch.Generator
) -> Tensor:
    """Draws for the active observations; those for the others are made and left."""
    latent = proposal.components[0].mean.shape[-1]
    noise = torch.randn(size, BLOCK, latent, generator=generator)[:, active]
    uniform = torch.rand(size, BLOCK, generator=generator)[:, active]
    mean = proposal.components[0].mean
    return proposal.draw(noise.to(mean), uniform.to(mean))


def _generators(seed: int, block: int) -> Iterator[torch.Generator]:
    """One source of draws for each round; on the CPU, so that draws do not depend on the device."""
    seeds = np.random.SeedSequence(seed, spawn_key=(block,))
    while True:
        (state,) = seeds.spawn(1)[0].generate_state(1, np.uint64)
        yield torch.Generator().manual_seed(int(state))


def _heaviest(z: Tensor, log_weights: Tensor) -> Tensor:
    """The draw of the largest weight: (S, n, d), (S, n) -> (n, d)."""
    return z[log_weights.argmax(0), torch.arange(z.shape[1], device=z.device)]


def _nothing_known(count: int) -> LogLikelihood:
    zeros = np.zeros(count)
    return LogLikelihood(
        zeros, zeros.copy(), zeros.copy(), np.zeros(count, dtype=np.int64), zeros.copy()
    )
