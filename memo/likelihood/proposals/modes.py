"""The search for the modes of each x's posterior, and the mixture of what it finds."""

from dataclasses import replace

import torch
from torch import Tensor

from memo.likelihood.decoding import log_joint, pieces, rounded_decoding
from memo.likelihood.proposals.gradients import climbed, has_gradient
from memo.likelihood.proposals.latent_gaussian import Gaussian, encoder_gaussian
from memo.likelihood.proposals.linearization import is_affine
from memo.likelihood.proposals.mixture import Mixture
from memo.likelihood.proposals.posterior import approximate_posterior
from memo.likelihood.weights import log_mean_exp
from memo.models.observations.bernoulli import Bernoulli
from memo.models.protocols import LatentVariableModel, ObservationModel

__all__ = ["BANK", "TRIAL_DRAWS", "component_at", "first_proposal"]

POOR_FIT = 1.25
"""Misfit above which other modes are looked for.

Measured on held-out MNIST images: 1 in 140 under a VAE that generalizes, 1 in 5 under one that
overfits. There errors are 0.29 nats (root mean square) at 1.35, 0.27 at 1.25, and 0.26 at 1.15,
which takes a seventh more time.
"""

BANK = 2048
"""Draws from the prior, decoded once for a block, of which each search takes likely ones.

Measured on a held-out MNIST image under a VAE that overfits, whose posterior has a mode 9 nats
above the one that the encoder leads to: the likeliest two of 128 lead there in 4 of 8 runs, of 512
in 7, of 2,048 in 6, of 8,192 in all; three starts that do not look at x did in one of 3. It is
missed in none of 3 repeats of the benchmark with 2,048, and in one with 512 or 128.
"""

STARTS = 4
"""Starts of that search, each of which climbs to a mode.

Measured on 194 held-out images of a misfit above 1.15 under a VAE that overfits: one start leads to
a mode worth a nat for 6 of them, two for 10, four for 15.
"""

CLIMBS = 12
"""Gradients of a climb; after 8 some have not come to a mode, more than 16 change nothing."""

FOUND = 2
"""The most modes that the search adds."""

WORTHLESS = 10.0
"""Nats that a mode may lie below p(x, z) at the first Gaussian's mean.

Measured on the 49 of these above 1.35: none of those below had a part of the posterior's mass.
"""

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
    gaussians, evidence = _modes(model, x[poor], first.gaussian[poor], bank, noise[:, poor])
    shares = torch.softmax(evidence, 1).clamp(min=SMALLEST_SHARE)
    shares = torch.where(evidence.isfinite(), shares, 0)
    return Mixture(
        (first.gaussian, *(first.gaussian.replaced(poor, other) for other in gaussians[1:])),
        _only_first(len(x), shares).index_put((poor,), shares / shares.sum(1, keepdim=True)),
        affine,
    )


def component_at(model: LatentVariableModel, x: Tensor, proposal: Mixture, z: Tensor) -> Mixture:
    """The mixture with one more Gaussian, found from z, (n, d)."""
    start = Gaussian(z, proposal.components[0].factor)
    found = approximate_posterior(model, x, start)
    return proposal.with_component(found.gaussian)


def _modes(
    model: LatentVariableModel, x: Tensor, first: Gaussian, bank: Tensor, noise: Tensor
) -> tuple[list[Gaussian], Tensor]:
    """`first` and Gaussians at up to `FOUND` other modes, with their evidence.

    Returns:
        Gaussians of all n observations, and (n, number of them): where an observation has fewer
        modes, `first` stands in, of no evidence.
    """
    evidence = _evidence(model, x, first, noise).unsqueeze(1)
    z, there = _other_modes(model, x, first, bank)
    if not there.any():
        return [first], evidence
    mode, rows = there.nonzero(as_tuple=True)
    start = Gaussian(z[mode, rows], first.factor[rows])
    found = approximate_posterior(model, x[rows], start).gaussian
    others = torch.full_like(there, -torch.inf, dtype=x.dtype)
    others[mode, rows] = _evidence(model, x[rows], found, noise[:, rows])
    gaussians = [first.replaced(rows[mode == k], found[mode == k]) for k in range(FOUND)]
    return [first, *gaussians], torch.cat([evidence, others.T], 1)


def _other_modes(
    model: LatentVariableModel, x: Tensor, first: Gaussian, bank: Tensor
) -> tuple[Tensor, Tensor]:
    """The highest modes of p(x, z) that the bank leads to, and not where `first` is.

    Returns:
        (FOUND, n, d), and whether there is one, (FOUND, n).
    """
    z, height = _climbed(model, x, first, _likeliest(model, x, bank))

    def same_as(centre: Tensor) -> Tensor:
        """Which are within the square root of d standard deviations of `first`, (STARTS, n)."""
        return replace(first, mean=centre).squared_distance(z) < z.shape[-1]

    least = log_joint(model, x, first.mean[None])[0] - WORTHLESS
    height = height.masked_fill(same_as(first.mean) | (height < least), -torch.inf)
    modes, there = [], []
    for _ in range(FOUND):
        highest, which = height.max(0)
        modes.append(z[which, torch.arange(len(x), device=x.device)])
        there.append(highest > -torch.inf)
        height = height.masked_fill(same_as(modes[-1]), -torch.inf)
    return torch.stack(modes), torch.stack(there)


def _climbed(
    model: LatentVariableModel, x: Tensor, first: Gaussian, starts: Tensor
) -> tuple[Tensor, Tensor]:
    """Where climbs from (S, n, d) lead, and log p(x, z) there, (S, n); those that come to `first`
    end on the way, three of four.

    Without gradients there are no climbs, and every start may be worth following.
    """
    if not has_gradient(model, x, starts[0]):
        return starts, torch.full_like(starts[..., 0], torch.inf)
    repeated = x.repeat(len(starts), *[1] * (x.ndim - 1))
    start = Gaussian(starts.flatten(0, 1), first.factor.repeat(len(starts), 1, 1))
    known = first.mean.repeat(len(starts), 1)
    reached, height = climbed(model, repeated, start, CLIMBS, known=known)
    return reached.mean.view_as(starts), height.view(starts.shape[:2])


def _likeliest(model: LatentVariableModel, x: Tensor, bank: Tensor) -> Tensor:
    """The latents of the largest p(x, z), each far from those before: (STARTS, n, d)."""
    decode = rounded_decoding(model, bank)
    parts = []
    for some in pieces(len(bank), 1, x[0].numel(), x.device):
        likelihood = _of_pairs(model.observation, x, decode(bank[some]))
        parts.append(likelihood - 0.5 * bank[some].square().sum(-1))
    height = torch.cat(parts, 1)
    starts = []
    for _ in range(STARTS):
        starts.append(bank[height.argmax(1)])
        near = torch.cdist(starts[-1], bank).square() < bank.shape[1]  # half of the mean of it
        height = height.masked_fill(near, -torch.inf)
    return torch.stack(starts)


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
