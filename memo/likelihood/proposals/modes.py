"""The search for the modes of each x's posterior, and the mixture of what it finds."""

import torch
from torch import Tensor

from memo.likelihood.decoding import log_joint, pieces
from memo.likelihood.proposals.gradients import climb, has_gradient
from memo.likelihood.proposals.latent_gaussian import Gaussian, encoder_gaussian
from memo.likelihood.proposals.linearization import is_affine
from memo.likelihood.proposals.mixture import Mixture
from memo.likelihood.proposals.posterior import approximate_posterior, dispersion
from memo.models.protocols import LatentVariableModel

POOR_FIT = 1.25
"""Dispersion above which other modes are looked for."""

PRIOR_DRAWS = 1024
"""Draws from the prior, decoded once for a block, of which each search takes likely ones."""

STARTS = 4
"""Starts of that search, each of which climbs to a mode."""

CLIMB_GRADIENTS = 12
"""Gradients of a climb."""

OTHER_MODES = 2
"""The most modes that the search adds."""

NEGLIGIBLE = 10.0
"""Nats that a mode may lie below p(x, z) at the first Gaussian's mean."""

SMALLEST_SHARE = 1 / 16
"""Share of the mixture that each mode has at least, before shares are divided by their sum."""


def first_proposal(model: LatentVariableModel, x: Tensor, prior_draws: Tensor) -> Mixture:
    """The Gaussian found from the encoder's, and others where it explains x poorly.

    Args:
        model: The latent-variable model.
        x: Observations, (n, *shape).
        prior_draws: Other places to start from, (PRIOR_DRAWS, d).
    """
    encoder = encoder_gaussian(model, x)
    first = approximate_posterior(model, x, encoder)
    shares = x.new_ones(len(x), 1)
    if is_affine(model, encoder.mean):
        return Mixture((first,), shares, affine=True)
    gaussians = [first]
    poor = (dispersion(model, x, first.mean) > POOR_FIT).nonzero().squeeze(1)
    if len(poor):
        others, evidence = _other_modes(model, x[poor], first[poor], prior_draws)
        gaussians += [first.replaced(poor, other) for other in others]
        shares = torch.nn.functional.pad(shares, (0, len(others)))
        found = torch.softmax(evidence, 1).clamp(min=SMALLEST_SHARE) * evidence.isfinite()
        shares[poor] = found / found.sum(1, keepdim=True)
    return Mixture(tuple(gaussians), shares, affine=False)


def with_gaussian_at(
    model: LatentVariableModel, x: Tensor, proposal: Mixture, z: Tensor
) -> Mixture:
    """The mixture with one more Gaussian, found from z, (n, d)."""
    start = Gaussian(z, proposal.gaussians[0].factor)
    return proposal.with_gaussian(approximate_posterior(model, x, start))


def _other_modes(
    model: LatentVariableModel, x: Tensor, first: Gaussian, prior_draws: Tensor
) -> tuple[list[Gaussian], Tensor]:
    """Gaussians at the highest modes that likely draws lead to, and where no other Gaussian is.

    Returns:
        Up to `OTHER_MODES` of them, and the log evidence of `first` and of each, (n, 1 + their
        number); where an observation has fewer modes, `first` stands in, of no evidence.
    """
    z, height = _climbed(model, x, first, _likeliest(model, x, prior_draws))
    lowest = log_joint(model, x, first.mean[None])[0] - NEGLIGIBLE
    height = height.masked_fill((height < lowest) | _covered(first, z), -torch.inf)
    found, evidence = [], [_log_evidence(model, x, first)]
    for _ in range(OTHER_MODES):
        highest, which = height.max(0)
        rows = (highest > -torch.inf).nonzero().squeeze(1)
        if not len(rows):
            break
        start = Gaussian(z[which[rows], rows], first.factor[rows])
        gaussian = first.replaced(rows, approximate_posterior(model, x[rows], start))
        found.append(gaussian)
        own = torch.full_like(highest, -torch.inf)
        own[rows] = _log_evidence(model, x[rows], gaussian[rows])
        evidence.append(own)
        height = height.masked_fill(_covered(gaussian, z), -torch.inf)
    return found, torch.stack(evidence, 1)


def _covered(gaussian: Gaussian, z: Tensor) -> Tensor:
    """True for what is within sqrt(d) standard deviations of the mean: (S, n, d) -> (S, n)."""
    return gaussian.squared_distance(z) < z.shape[-1]


def _climbed(
    model: LatentVariableModel, x: Tensor, first: Gaussian, starts: Tensor
) -> tuple[Tensor, Tensor]:
    """Modes that climbs from (S, n, d) lead to, and log p(x, z) there, (S, n).

    Without gradients there are no climbs, and every start may be worth following.
    """
    if not has_gradient(model, starts[0]):
        return starts, torch.full_like(starts[..., 0], torch.inf)
    count = len(starts)
    start = Gaussian(starts.flatten(0, 1), first.factor.repeat(count, 1, 1))
    reached, height = climb(model, torch.cat([x] * count), start, CLIMB_GRADIENTS)
    return reached.mean.view_as(starts), height.view(starts.shape[:2])


def _likeliest(model: LatentVariableModel, x: Tensor, prior_draws: Tensor) -> Tensor:
    """The draws of the largest p(x, z), each far from those before: (STARTS, n, d)."""
    parts = []
    for some in pieces(len(prior_draws), 1, x[0].numel(), x.device):
        z, parameters = prior_draws[some], model.decode(prior_draws[some])
        likelihood = torch.stack([model.observation.log_prob(row, parameters) for row in x])
        parts.append(likelihood - 0.5 * z.square().sum(-1))
    height = torch.cat(parts, 1)
    starts = []
    for _ in range(STARTS):
        starts.append(prior_draws[height.argmax(1)])
        near = torch.cdist(starts[-1], prior_draws).square() < model.latent  # half its mean
        height = height.masked_fill(near, -torch.inf)
    return torch.stack(starts)


def _log_evidence(model: LatentVariableModel, x: Tensor, gaussian: Gaussian) -> Tensor:
    """Laplace's approximation of the posterior mass under a Gaussian, but for a constant: (n,)."""
    return log_joint(model, x, gaussian.mean[None])[0] + gaussian.log_volume
