"""The Gaussian closest to each x's posterior."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from memo.likelihood.decoding import pieces
from memo.likelihood.proposals.gradients import approximate, climbed, has_gradient
from memo.likelihood.proposals.latent_gaussian import Gaussian, shortened
from memo.likelihood.proposals.linearization import curvature_is_known, linearize, moments_are_known
from memo.models.observations.bernoulli import Bernoulli
from memo.models.protocols import LatentVariableModel, ObservationModel

__all__ = ["Approximation", "approximate_posterior"]

CLIMBS = 6
"""Gradients of the climb before the steps.

Each costs a seventh of a step. Measured on MNIST, it saves 0.9 of 2.5 steps in training, and 2 of 4
held out under a VAE that overfits; of more gradients few observations have any use.
"""

STEPS_AFTER_CLIMB = 4

MAX_STEPS = 12
"""Where there is no climb."""

SETTLED = 1.0
"""Squared length of a step, in posterior standard deviations, that is the last one."""

LEAST_PRECISION = 0.9
"""Share of the prior's precision that a Gaussian has to keep in every direction.

Otherwise the curvature of the likelihood says little about its shape.
"""

PASSES = 4
"""Cache-fuls of slopes made at once: a step is many small operations, whose overhead they share."""


@dataclass(frozen=True)
class Approximation:
    """A Gaussian approximation of n posteriors, and how far to trust it."""

    gaussian: Gaussian

    misfit: Tensor
    """sum score^2 / sum Fisher information over the parameters of p(x | z), (n,).

    About 1 where x looks like a draw from p(x | z); more where a better mode may be elsewhere.
    """

    def __getitem__(self, rows: Tensor) -> "Approximation":
        return Approximation(self.gaussian[rows], self.misfit[rows])


def approximate_posterior(model: LatentVariableModel, x: Tensor, start: Gaussian) -> Approximation:
    """The Gaussian closest to p(z | x) that steps from `start` lead to.

    By moments of the decoder's outputs where they are known in closed form, or where there is no
    gradient; by gradients elsewhere.

    Args:
        model: The latent-variable model.
        x: Observations, (n, *shape).
        start: Where to start, for each observation.
    """
    if gradients_serve(model, x, start.mean):
        q = approximate(model, x, start)
        parameters = model.decode(q.mean).flatten(1)
        moments = _moments(model.observation, x, parameters, torch.zeros_like(parameters))
        return Approximation(q, _misfit(*moments))
    if curvature_is_known(model) and has_gradient(model, x, start.mean):
        start, _ = climbed(model, x, start, CLIMBS)
        return _by_moments(model, x, start, STEPS_AFTER_CLIMB, math.sqrt(model.latent))
    return _by_moments(model, x, start, MAX_STEPS)


def gradients_serve(model: LatentVariableModel, x: Tensor, z: Tensor) -> bool:
    """Whether proposals are found from gradients: x (n, *shape), z (n, d)."""
    return not moments_are_known(model) and has_gradient(model, x, z)


def _by_moments(
    model: LatentVariableModel,
    x: Tensor,
    start: Gaussian,
    steps: int,
    longest: float = math.inf,
) -> Approximation:
    """Damped variational Newton steps from `start` to the Gaussian q closest to p(z | x).

    Each solves the quadratic model that the decoder f under q and the mean Fisher information F of
    the pixels make: for z = m + L u, slopes J = E[df/du] and mean score s = E[d log p(x | f) / df],

        precision of u = L^T L + J F J^T - sum_p s_p E[d2f_p / du du^T],
        precision x step = J s - L^T m.

    These are Newton's steps on E_q[log p(x, z)] (Opper & Archambeau 2009, The variational Gaussian
    approximation revisited, section 2), up to how J and s vary together under q, which a last step
    takes in (`Linearization.score_correction`). Where the precision is not positive enough, the
    last term, which Gauss-Newton neglects, is left out. Measured on held-out MNIST images, the
    median variance of the weights is 1.31 with Gauss-Newton, 0.78 with Newton's steps and 0.55
    with the last one; under a VAE that overfits 6.2, 2.2 and 1.4. Whenever a step is longer than
    the one before, that observation's further steps are halved.

    Args:
        model: The latent-variable model.
        x: Observations, (n, *shape).
        start: Where to start, for each observation.
        steps: The most that are taken before the last one.
        longest: A step's length, in standard deviations of q, above which it is shortened.
    """
    q = start.clone()
    misfit, damping = x.new_zeros(len(x)), x.new_ones(len(x))
    previous = x.new_full((len(x),), math.inf)
    active = torch.arange(len(x), device=x.device)
    for _ in range(steps):
        step = _steps(model, x[active], q[active], longest)
        damping[active] *= torch.where(step.length > previous[active], 0.5, 1.0)
        q.mean[active] += damping[active].unsqueeze(-1) * step.mean
        q.factor[active] = step.factor
        misfit[active], previous[active] = step.misfit, step.length
        active = active[step.length > SETTLED]
        if not len(active):
            break
    if curvature_is_known(model):
        step = _steps(model, x, q, longest, refined=True)
        q = Gaussian(q.mean + step.mean, step.factor)
    return Approximation(q, misfit)


class _Step(NamedTuple):
    mean: Tensor
    """What to add to the mean, (n, d)."""

    factor: Tensor
    """The new factor, (n, d, d)."""

    length: Tensor
    """Squared length of the step, in posterior standard deviations, (n,)."""

    misfit: Tensor


def _steps(
    model: LatentVariableModel,
    x: Tensor,
    q: Gaussian,
    longest: float,
    *,
    refined: bool = False,
) -> _Step:
    vectors = max(1, q.mean.shape[-1] // PASSES)
    parts = [
        _step(model, x[rows], q[rows], longest, refined=refined)
        for rows in pieces(len(x), vectors, x[0].numel(), x.device)
    ]
    return _Step(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _step(
    model: LatentVariableModel, x: Tensor, q: Gaussian, longest: float, *, refined: bool
) -> _Step:
    decoded = linearize(model, q.mean, q.factor)
    score, information = _moments(model.observation, x, decoded.mean, decoded.std)
    dtype = decoded.slopes.dtype
    weighted = decoded.slopes * information.unsqueeze(1).to(dtype)
    fisher = (weighted @ decoded.slopes.mT).to(x.dtype)
    gradient = (score.unsqueeze(1).to(dtype) @ decoded.slopes.mT).to(x.dtype).mT
    gradient = gradient - q.factor.mT @ q.mean.unsqueeze(-1)
    if refined:
        gradient = gradient + decoded.score_correction(weighted).unsqueeze(-1)
    prior = q.factor.mT @ q.factor
    bent = fisher - decoded.curvature(score)
    _, failed = torch.linalg.cholesky_ex(bent + (1 - LEAST_PRECISION) * prior)
    precision = prior + torch.where((failed == 0)[:, None, None], bent, fisher)
    triangle = torch.linalg.cholesky(precision)
    step = torch.cholesky_solve(gradient, triangle)
    taken = shortened(step.squeeze(-1), longest)
    return _Step(
        mean=(q.factor @ taken.unsqueeze(-1)).squeeze(-1),
        factor=torch.linalg.solve_triangular(triangle.mT, q.factor, upper=True, left=False),
        length=(step * gradient).sum((1, 2)),
        misfit=_misfit(score, information),
    )


def _misfit(score: Tensor, information: Tensor) -> Tensor:
    return score.square().sum(-1) / information.sum(-1)


def _moments(
    observation: ObservationModel, x: Tensor, mean: Tensor, std: Tensor
) -> tuple[Tensor, Tensor]:
    """Means of score and Fisher information for parameters ~ N(mean, std^2): (n, P), (n, P).

    By the two-point Gauss-Hermite rule, mean +- std.
    """
    shape = observation.parameter_shape
    parameters = torch.stack([mean + std, mean - std]).view(2, -1, *shape)
    information = observation.fisher_information(parameters)
    score = _score(observation, x, parameters)
    return score.mean(0).flatten(1), information.mean(0).flatten(1)


def _score(observation: ObservationModel, x: Tensor, parameters: Tensor) -> Tensor:
    """d log p(x | parameters) / d parameters, as the model has it written out, or by autograd."""
    if isinstance(observation, Bernoulli):
        return observation.score(x, parameters)
    with torch.enable_grad():
        parameters = parameters.detach().requires_grad_()
        log_likelihood = observation.log_prob(x, parameters).sum()
        (score,) = torch.autograd.grad(log_likelihood, parameters)
    return score
