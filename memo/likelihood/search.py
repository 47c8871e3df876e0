"""The search for the modes of each x's posterior, and the mixture of what it finds."""

import torch
from torch import Tensor

from memo.likelihood.decoding import log_joint, pieces
from memo.likelihood.gaussian import Gaussian, encoder_gaussian
from memo.likelihood.linearization import is_affine
from memo.likelihood.mixture import Mixture
from memo.likelihood.proposal import approximate_posterior
from memo.likelihood.weights import log_mean_exp
from memo.models import LatentVariableModel, ObservationModel
from memo.models.observations import Bernoulli

__all__ = ["BANK", "TRIAL_DRAWS", "component_at", "first_proposal"]

POOR_FIT = 1.35
"""Misfit above which other modes are looked for.

Measured on MNIST: 1 in 200 held-out images under a VAE that generalizes, 1 in 13 under one that
overfits.
"""

BANK = 2048
"""Draws from the prior, decoded once for a block, of which each search takes likely ones.

Measured on a held-out MNIST image under a VAE that overfits, whose posterior has a mode 9 nats
above the one that the encoder leads to: the likeliest two of 128 lead there in 4 of 8 runs, of 512
in 7, of 2,048 in 6, of 8,192 in all; three starts that do not look at x did in one of 3. It is
missed in none of 3 repeats of the benchmark with 2,048, and in one with 512 or 128.
"""

STARTS = 2
"""Starts of that search."""

TRIAL_DRAWS = 8
"""Draws from each Gaussian found, to see what part of the posterior's mass it has."""

SMALLEST_SHARE = 1 / 16


def first_proposal(model: LatentVariableModel, x: Tensor, bank: Tensor, noise: Tensor) -> Mixture:
    """The Gaussian found from the encoder's, and others where it explains x poorly.

    Args:
        model: The latent-variable model.
        x: Observations, (n, *shape).
        bank: Draws from the prior, (BANK, d): where else to start.
        noise: Standard normal draws, (TRIAL_DRAWS, n, d): trials of what is found.
    """
    encoder = encoder_gaussian(model, x)
    first = approximate_posterior(model, x, encoder)
    poor, affine = first.misfit > POOR_FIT, is_affine(model, encoder.mean)
    if affine or not poor.any():
        return Mixture((first.gaussian,), x.new_ones(len(x), 1), affine)
    found = _search(model, x[poor], encoder.factor[poor], bank)
    evidence = [
        _evidence(model, x[poor], gaussian, noise[:, poor])
        for gaussian in (first.gaussian[poor], *found)
    ]
    shares = torch.softmax(torch.stack(evidence, 1), 1).clamp(min=SMALLEST_SHARE)
    return Mixture(
        (first.gaussian, *(first.gaussian.replaced(poor, gaussian) for gaussian in found)),
        _only_first(len(x), shares).index_put((poor,), shares / shares.sum(1, keepdim=True)),
        affine,
    )


def component_at(model: LatentVariableModel, x: Tensor, proposal: Mixture, z: Tensor) -> Mixture:
    """The mixture with one more Gaussian, found from z, (n, d)."""
    start = Gaussian(z, proposal.components[0].factor)
    found = approximate_posterior(model, x, start)
    return proposal.with_component(found.gaussian)


def _search(model: LatentVariableModel, x: Tensor, factor: Tensor, bank: Tensor) -> list[Gaussian]:
    """What is found from the likeliest latents of the bank."""
    start = Gaussian(_likeliest(model, x, bank), factor.repeat(STARTS, 1, 1))
    repeated = x.repeat(STARTS, *[1] * (x.ndim - 1))
    found = approximate_posterior(model, repeated, start).gaussian
    return [found[slice(k * len(x), (k + 1) * len(x))] for k in range(STARTS)]


def _likeliest(model: LatentVariableModel, x: Tensor, bank: Tensor) -> Tensor:
    """The latents of the largest p(x, z), each far from those before: (STARTS n, d)."""
    parts = []
    for some in pieces(len(bank), x[0].numel(), x.device):
        likelihood = _of_pairs(model.observation, x, model.decode(bank[some]))
        parts.append(likelihood - 0.5 * bank[some].square().sum(-1))
    log_joint = torch.cat(parts, 1)
    starts = []
    for _ in range(STARTS):
        starts.append(bank[log_joint.argmax(1)])
        near = torch.cdist(starts[-1], bank).square() < bank.shape[1]  # half of the mean of it
        log_joint = log_joint.masked_fill(near, -torch.inf)
    return torch.cat(starts)


def _of_pairs(observation: ObservationModel, x: Tensor, parameters: Tensor) -> Tensor:
    """log p(x_i | z_j): (n, *shape), (J, *parameter shape) -> (n, J)."""
    if isinstance(observation, Bernoulli):
        return observation.log_prob_of_pairs(x, parameters)
    return torch.stack([observation.log_prob(row, parameters) for row in x])


def _evidence(model: LatentVariableModel, x: Tensor, gaussian: Gaussian, noise: Tensor) -> Tensor:
    """Roughly, the logarithm of the posterior mass under a Gaussian, up to a constant: (n,)."""
    z = gaussian.draw(noise)
    value, _, _ = log_mean_exp(log_joint(model, x, z) - gaussian.log_prob(z))
    return value.to(x)


def _only_first(count: int, shares: Tensor) -> Tensor:
    result = shares.new_zeros(count, shares.shape[1])
    result[:, 0] = 1
    return result
