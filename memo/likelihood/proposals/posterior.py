"""The Gaussian closest to each x's posterior."""

import math

import torch
from torch import Tensor

from memo.likelihood.decoding import perceptron, pieces
from memo.likelihood.proposals.gradients import approximate_by_gradients, climb, has_gradient
from memo.likelihood.proposals.latent_gaussian import Gaussian, clip_length
from memo.likelihood.proposals.linearization import linearize
from memo.models.protocols import LatentVariableModel, ObservationModel

CLIMB_GRADIENTS = 6
"""Gradients of the climb before the steps, each of which costs far less than a step."""

MOST_STEPS = 4
"""The most Newton steps before the last one."""

LONGEST_STEP = 1.0
"""Length that a step has at most, in standard deviations of q times sqrt(d), where the decoder has
hidden layers; for affine ones any step is right."""

SETTLED = 1.0
"""Squared length of a step, in posterior standard deviations, that is the last but one."""

LEAST_PRECISION = 0.9
"""Share of the prior's precision that a Gaussian has to keep in every direction.

Otherwise the Hessian of the likelihood says little about its shape.
"""

CACHES = 4
"""Cache-fuls of Jacobians made at once: a step is many small operations, whose overhead they share.
"""


def approximate_posterior(model: LatentVariableModel, x: Tensor, start: Gaussian) -> Gaussian:
    """The Gaussian closest to p(z | x) that steps from `start` lead to.

    By moments of the decoder's outputs where they are known in closed form, or where there is no
    gradient; by gradients elsewhere.

    Args:
        model: The latent-variable model.
        x: Observations, (n, *shape).
        start: A Gaussian to start from, for each observation.
    """
    if only_gradients_are_known(model, start.mean):
        return approximate_by_gradients(model, x, start)
    if perceptron(model) is not None:
        start, _ = climb(model, x, start, CLIMB_GRADIENTS)
    q = start
    for rows in pieces(len(x), max(1, model.latent // CACHES), x[0].numel(), x.device):
        q = q.replaced(rows, _approximate_by_moments(model, x[rows], start[rows]))
    return q


def only_gradients_are_known(model: LatentVariableModel, z: Tensor) -> bool:
    """True where proposals are found from gradients; z are any latent variables, (n, d)."""
    return perceptron(model) is None and has_gradient(model, z)


def dispersion(model: LatentVariableModel, x: Tensor, z: Tensor) -> Tensor:
    """sum score^2 / sum Fisher information over the parameters of p(x | z): z (n, d) -> (n,).

    As Pearson's statistic over its degrees of freedom, to which it is equal for Gaussian pixels, it
    is about 1 where x looks like a draw from p(x | z), and more where the fit is poor.
    """
    parameters = model.decode(z)
    score = _score(model.observation, x, parameters).flatten(1)
    information = model.observation.fisher_information(parameters).flatten(1)
    return score.square().sum(-1) / information.sum(-1)


def _approximate_by_moments(model: LatentVariableModel, x: Tensor, q: Gaussian) -> Gaussian:
    """Variational Newton steps from q to the Gaussian closest to p(z | x).

    Each solves the quadratic model that the decoder f under q and the mean Fisher information F of
    its parameters make: for z = m + L u, Jacobian J = E[df/du] and mean score
    s = E[d log p(x | f) / df],

        precision of u = L^T L + J F J^T - sum_p s_p E[d2f_p / du du^T],
        precision x step = J s - L^T m.

    These are Newton's steps on E_q[log p(x, z)] (Opper & Archambeau 2009, The variational Gaussian
    approximation revisited, section 2), up to the covariance of J and s under q, which a last step
    takes in (`Linearization.gradient_correction`). Where the precision is not positive enough, the
    last term, which Gauss-Newton neglects, is left out.
    """
    active = torch.arange(len(x), device=x.device)
    for _ in range(MOST_STEPS):
        moved, length = _newton_step(model, x[active], q[active])
        q = q.replaced(active, moved)
        active = active[length > SETTLED]
        if not len(active):
            break
    return _newton_step(model, x, q, corrected=True)[0]


def _newton_step(
    model: LatentVariableModel, x: Tensor, q: Gaussian, *, corrected: bool = False
) -> tuple[Gaussian, Tensor]:
    """The next Gaussian, and the squared length of the step before it is clipped, (n,)."""
    decoded = linearize(model, q)
    jacobian, dtype = decoded.jacobian, decoded.jacobian.dtype
    score, information = _moments(model.observation, x, decoded.mean, decoded.std)
    weighted = jacobian * information.unsqueeze(1).to(dtype)
    fisher = (weighted @ jacobian.mT).to(x.dtype)
    gradient = (score.unsqueeze(1).to(dtype) @ jacobian.mT).to(x.dtype).mT
    gradient = gradient - q.factor.mT @ q.mean.unsqueeze(-1)
    if corrected:
        gradient = gradient + decoded.gradient_correction(weighted).unsqueeze(-1)
    prior, curvature = q.factor.mT @ q.factor, fisher - decoded.hessian(score)
    _, failed = torch.linalg.cholesky_ex(curvature + (1 - LEAST_PRECISION) * prior)
    precision = prior + torch.where((failed == 0)[:, None, None], curvature, fisher)
    triangle, failed = torch.linalg.cholesky_ex(precision)
    # Rounding of J F J^T may outweigh the smallest precisions of q; there q stays as it is.
    known = (failed == 0)[:, None, None]
    identity = torch.eye(model.latent, dtype=precision.dtype, device=precision.device)
    triangle, gradient = torch.where(known, triangle, identity), torch.where(known, gradient, 0.0)
    step = torch.cholesky_solve(gradient, triangle)
    longest = LONGEST_STEP * math.sqrt(model.latent) if decoded.hidden else math.inf
    taken = clip_length(step.squeeze(-1), longest)
    factor = torch.linalg.solve_triangular(triangle.mT, q.factor, upper=True, left=False)
    return Gaussian(q.draw(taken[None])[0], factor), (step * gradient).sum((1, 2))


def _moments(
    observation: ObservationModel, x: Tensor, mean: Tensor, std: Tensor
) -> tuple[Tensor, Tensor]:
    """Means of score and Fisher information for parameters ~ N(mean, std^2): (n, P), (n, P).

    By the two-point Gauss-Hermite rule, mean +- std.
    """
    parameters = torch.stack([mean + std, mean - std]).view(2, -1, *observation.parameter_shape)
    score = _score(observation, x, parameters)
    information = observation.fisher_information(parameters)
    return score.mean(0).flatten(1), information.mean(0).flatten(1)


def _score(observation: ObservationModel, x: Tensor, parameters: Tensor) -> Tensor:
    """The score function, d log p(x | parameters) / d parameters."""
    with torch.enable_grad():
        at = parameters.detach().requires_grad_()
        (score,) = torch.autograd.grad(observation.log_prob(x, at).sum(), at)
    return score
