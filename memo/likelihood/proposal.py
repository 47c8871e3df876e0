"""The Gaussian closest to each x's posterior."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from memo.likelihood.decoding import pieces
from memo.likelihood.linearization import linearize
from memo.models import LatentVariableModel, ObservationModel

__all__ = ["Gaussian", "approximate_posterior", "encoder_gaussian"]

MAX_STEPS = 12

SETTLED = 0.5
"""Squared length of a step, in posterior standard deviations, that is the last one."""


@dataclass(frozen=True)
class Gaussian:
    """N(mean, factor factor^T) for each of n observations: (n, d), (n, d, d)."""

    mean: Tensor
    factor: Tensor

    def __getitem__(self, rows: Tensor | slice) -> "Gaussian":
        return Gaussian(self.mean[rows], self.factor[rows])

    def clone(self) -> "Gaussian":
        return Gaussian(self.mean.clone(), self.factor.clone())


def encoder_gaussian(model: LatentVariableModel, x: Tensor) -> Gaussian:
    """What the encoder takes for the posterior."""
    mean, log_std = model.encode(x)
    return Gaussian(mean, torch.diag_embed(torch.exp(log_std)))


def approximate_posterior(
    model: LatentVariableModel, x: Tensor, start: Gaussian
) -> tuple[Gaussian, Tensor]:
    """Damped variational Gauss-Newton from `start` to the Gaussian q closest to p(z | x).

    Each step solves the linear-Gaussian model that the decoder's statistical linearization under
    q and the mean Fisher information F of the pixels make: for z = m + L u, slopes J = E[df/du],

        precision of u = L^T L + J F J^T,    precision x step = J E[grad log p(x | z)] - L^T m.

    Its fixed point is that of variational inference with a Gauss-Newton Hessian (Opper &
    Archambeau 2009, The variational Gaussian approximation revisited, section 2). Whenever a step
    is longer than the one before, that observation's further steps are halved.

    Args:
        model: The latent-variable model.
        x: Observations, (n, *shape).
        start: Where to start, for each observation.

    Returns:
        q, and the nonlinearity of the decoder under q, (n,): the nats, to second order, between
        the decoder's mean and its value at the mean; 0 for linear decoders.
    """
    q = start.clone()
    nonlinearity = x.new_zeros(len(x))
    damping = x.new_ones(len(x))
    previous = x.new_full((len(x),), math.inf)
    active = torch.arange(len(x), device=x.device)
    for _ in range(MAX_STEPS):
        step, factor, length, curved = _steps(model, x[active], q[active])
        damping[active] *= torch.where(length > previous[active], 0.5, 1.0)
        q.mean[active] += damping[active].unsqueeze(-1) * step
        q.factor[active] = factor
        nonlinearity[active], previous[active] = curved, length
        active = active[length > SETTLED]
        if not len(active):
            break
    return q, nonlinearity


def _steps(
    model: LatentVariableModel, x: Tensor, q: Gaussian
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    floats = q.mean.shape[-1] * x[0].numel()
    parts = [_step(model, x[rows], q[rows]) for rows in pieces(len(x), floats, x.device)]
    step, factor, length, nonlinearity = (torch.cat(part) for part in zip(*parts, strict=True))
    return step, factor, length, nonlinearity


def _step(
    model: LatentVariableModel, x: Tensor, q: Gaussian
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The mean's step, the new factor, the step's squared length, and the nonlinearity."""
    decoded = linearize(model, q.mean, q.factor)
    at_mean = model.decode(q.mean)
    score, information = _moments(
        model.observation, x, decoded.mean.view_as(at_mean), _std(decoded.slopes).view_as(at_mean)
    )
    weighted = decoded.slopes * information.unsqueeze(1)
    precision = q.factor.mT @ q.factor + weighted @ decoded.slopes.mT
    gradient = decoded.slopes @ score.unsqueeze(-1) - q.factor.mT @ q.mean.unsqueeze(-1)
    triangle = torch.linalg.cholesky(precision)
    step = torch.cholesky_solve(gradient, triangle)
    factor = torch.linalg.solve_triangular(triangle.mT, q.factor, upper=True, left=False)
    nonlinearity = 0.5 * (information * (decoded.mean - at_mean.flatten(1)).square()).sum(-1)
    return (
        (q.factor @ step).squeeze(-1),
        factor,
        (step * gradient).sum((1, 2)),
        nonlinearity,
    )


def _std(slopes: Tensor) -> Tensor:
    return slopes.square().sum(1).sqrt()


def _moments(
    observation: ObservationModel, x: Tensor, mean: Tensor, std: Tensor
) -> tuple[Tensor, Tensor]:
    """Means of score and Fisher information for parameters ~ N(mean, std^2): (n, P), (n, P).

    By the two-point Gauss-Hermite rule, mean +- std.
    """
    parameters = torch.stack([mean + std, mean - std])
    information = observation.fisher_information(parameters)
    with torch.enable_grad():
        parameters.requires_grad_()
        log_likelihood = observation.log_prob(x, parameters).sum()
        (score,) = torch.autograd.grad(log_likelihood, parameters)
    return score.mean(0).flatten(1), information.mean(0).flatten(1)
