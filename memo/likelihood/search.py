"""The search for the modes of each x's posterior, and the mixture of what it finds."""

import torch
from torch import Tensor

from memo.likelihood.decoding import log_joint
from memo.likelihood.gaussian import Gaussian, encoder_gaussian
from memo.likelihood.linearization import is_affine
from memo.likelihood.mixture import Mixture
from memo.likelihood.proposal import approximate_posterior
from memo.likelihood.weights import log_mean_exp
from memo.models import LatentVariableModel

__all__ = ["SEARCH_DRAWS", "component_at", "first_proposal"]

POOR_FIT = 1.35
"""Misfit above which other modes are looked for.

Measured on MNIST: 1 in 200 held-out images under a VAE that generalizes, 1 in 13 under one that
overfits.
"""

STARTS = 3
"""Starts of that search."""

TRIAL_DRAWS = 8
"""Draws from each Gaussian found, to see what part of the posterior's mass it has."""

SEARCH_DRAWS = STARTS + TRIAL_DRAWS

SMALLEST_SHARE = 1 / 16


def first_proposal(model: LatentVariableModel, x: Tensor, noise: Tensor) -> Mixture:
    """The Gaussian found from the encoder's, and others where it explains x poorly.

    Args:
        model: The latent-variable model.
        x: Observations, (n, *shape).
        noise: Standard normal draws, (SEARCH_DRAWS, n, d): starts, and trials of what is found.
    """
    encoder = encoder_gaussian(model, x)
    first = approximate_posterior(model, x, encoder)
    poor, affine = first.misfit > POOR_FIT, is_affine(model, encoder.mean)
    if affine or not poor.any():
        return Mixture((first.gaussian,), x.new_ones(len(x), 1), affine)
    found = _search(
        model, x[poor], first.gaussian.mean[poor], encoder.factor[poor], noise[:STARTS, poor]
    )
    evidence = [
        _evidence(model, x[poor], gaussian, noise[STARTS:, poor])
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


def _search(
    model: LatentVariableModel, x: Tensor, mode: Tensor, factor: Tensor, noise: Tensor
) -> list[Gaussian]:
    """What is found half way from the mode to the prior's mean, and to draws from the prior."""
    towards = torch.cat([torch.zeros_like(noise[:1]), noise[1:]])
    start = Gaussian((0.5 * (mode + towards)).flatten(0, 1), factor.repeat(STARTS, 1, 1))
    repeated = x.repeat(STARTS, *[1] * (x.ndim - 1))
    found = approximate_posterior(model, repeated, start).gaussian
    return [found[slice(k * len(x), (k + 1) * len(x))] for k in range(STARTS)]


def _evidence(model: LatentVariableModel, x: Tensor, gaussian: Gaussian, noise: Tensor) -> Tensor:
    """Roughly, the logarithm of the posterior mass under a Gaussian, up to a constant: (n,)."""
    z = gaussian.draw(noise)
    value, _, _ = log_mean_exp(log_joint(model, x, z) - gaussian.log_prob(z))
    return value.to(x)


def _only_first(count: int, shares: Tensor) -> Tensor:
    result = shares.new_zeros(count, shares.shape[1])
    result[:, 0] = 1
    return result
