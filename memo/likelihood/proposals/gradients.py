"""The Gaussian closest to each x's posterior, from gradients of log p(x, z).

`climb` leads from the encoder's mean to where the posterior's mass is. `approximate_by_gradients`
then fits mean and covariance, for decoders of which nothing is known but that they can be
differentiated.
"""

import math

import torch
from torch import Tensor

from memo.likelihood.decoding import log_joint_gradient
from memo.likelihood.proposals.latent_gaussian import Gaussian, clip_length
from memo.models.protocols import LatentVariableModel

CLIMB_GRADIENTS = 40
"""Gradients in which a mode is approached."""

NEAR = 1.0
"""Increase of log p(x, z), in nats, that a climb has to promise to go on."""

STEPS = 6
"""Variational Newton steps."""

REFINING_STEPS = 8
"""Further steps for observations whose weights still vary too much after a stage of draws."""

REFINING_RATE = 0.2
"""Weight of the newest precision in these steps."""

SAME = 1e-3
"""Nats between one Gaussian and the next below which the last step was the last."""

EIGENVALUES = (0.1, 10.0)
"""Bounds on the factor by which one step changes a precision."""


def has_gradient(model: LatentVariableModel, z: Tensor) -> bool:
    """True where autograd has a gradient of the decoder's outputs in z, (n, d)."""
    with torch.enable_grad():
        at = z[:1].detach().requires_grad_()
        try:
            (gradient,) = torch.autograd.grad(model.decode(at).sum(), at)
        except RuntimeError:  # there is none, or values leave torch on the way
            return False
    return bool(gradient.isfinite().all())


def approximate_by_gradients(model: LatentVariableModel, x: Tensor, start: Gaussian) -> Gaussian:
    """The Gaussian q of the largest E_q[log p(x, z)] + entropy that steps from `start` lead to.

    With z = m + L u, u ~ N(0, I), Newton's step on it (Opper & Archambeau 2009, The variational
    Gaussian approximation revisited, section 2) is

        precision of u = A = -E_q[d2 log p / du du^T],    A step = E_q[d log p / du],

    where the precision is averaged over steps, once they change little (variational online Newton,
    Khan & Rue 2023, The Bayesian learning rule, JMLR 24). Both means are those of the
    spherical-radial rule of degree 3 (Arasaratnam & Haykin 2009, Cubature Kalman filters, IEEE TAC
    54), its points +- sqrt(d) q_i along an orthonormal basis, another one at each step; second
    derivatives are taken by Stein's identity, E[H] = E[grad u^T]. They are exact for quadratic
    log p(x, z), so that posteriors of linear-Gaussian models are found to rounding. Kinks of ReLU
    networks, and the score's share of the Hessian, are seen as q sees them: the Hessian at the mode
    says little of them.

    Args:
        model: The latent-variable model.
        x: Observations, (n, *shape).
        start: A Gaussian to start from, for each observation.
    """
    q, _ = climb(model, x, start, CLIMB_GRADIENTS)
    near = x.new_zeros(len(x))
    active = torch.arange(len(x), device=x.device)
    for number in range(STEPS):
        rate = 1 / (1 + near[active] / 2)
        moved, change = _newton_step(model, x[active], q[active], number, rate)
        q = q.replaced(active, moved)
        near[active] += change < model.latent / 4
        active = active[change > SAME]
        if not len(active):
            break
    return q


def refine(model: LatentVariableModel, x: Tensor, q: Gaussian) -> Gaussian:
    """`q` after further steps, whose precisions are averaged with its own."""
    rate = x.new_full((len(x),), REFINING_RATE)
    for number in range(STEPS, STEPS + REFINING_STEPS):
        q, _ = _newton_step(model, x, q, number, rate)
    return q


def _newton_step(
    model: LatentVariableModel, x: Tensor, q: Gaussian, number: int, rate: Tensor
) -> tuple[Gaussian, Tensor]:
    """The next Gaussian, and its Kullback-Leibler divergence from the last in nats, (n,)."""
    latent = model.latent
    basis = _orthonormal_basis(latent, number).to(q.mean)
    points = math.sqrt(latent) * torch.cat([basis, -basis]).unsqueeze(1)
    _, gradient = log_joint_gradient(model, x, q.draw(points.expand(-1, len(x), -1)))
    gradient = q.gradient_in_units(gradient)
    ahead, behind = gradient.chunk(2)
    hessian = torch.einsum("si,snj->nij", basis, ahead - behind) / (2 * math.sqrt(latent))
    identity = torch.eye(latent).to(basis)
    precision = torch.lerp(identity, -0.5 * (hessian + hessian.mT), rate[:, None, None])
    precision = torch.where(precision.isfinite(), precision, identity)
    values, vectors = (part.to(q.mean) for part in torch.linalg.eigh(precision.cpu()))
    values = values.abs().clamp(*EIGENVALUES)
    step = torch.einsum("nij,nkj,nk->ni", vectors / values.unsqueeze(1), vectors, gradient.mean(0))
    step = clip_length(step.nan_to_num(0, 0, 0), math.sqrt(latent))
    change = 0.5 * (values - 1 - values.log() + step.square()).sum(-1)
    moved = Gaussian(q.draw(step[None])[0], q.factor @ (vectors / values.sqrt().unsqueeze(1)))
    return moved, change


def _orthonormal_basis(latent: int, number: int) -> Tensor:
    """An orthonormal basis of the latent space, the same for every observation: (d, d)."""
    generator = torch.Generator().manual_seed(number)
    draws = torch.randn(latent, latent, generator=generator, dtype=torch.float64)
    basis: Tensor = torch.linalg.qr(draws).Q
    return basis


def climb(
    model: LatentVariableModel, x: Tensor, start: Gaussian, gradients: int
) -> tuple[Gaussian, Tensor]:
    """`start` moved towards a maximum of log p(x, z), and log p(x, z) there, (n,).

    By BFGS steps (Nocedal & Wright 2006, ch. 6) in units of `start`, no longer than 2 sqrt(d) of
    them. A step that leads down is not taken, and the next is a quarter as long.

    Args:
        model: The latent-variable model.
        x: Observations, (n, *shape).
        start: A Gaussian to start from, for each observation.
        gradients: The most that are taken for an observation, beside the first.
    """
    u = torch.zeros_like(start.mean)
    value, gradient = _log_joint_in_units(model, x, start, u)
    inverse = torch.diag_embed(torch.ones_like(u))
    size = torch.ones_like(value)
    active = torch.arange(len(x), device=x.device)
    for number in range(gradients):
        direction = torch.einsum("nij,nj->ni", inverse[active], gradient[active])
        promising = (direction * gradient[active]).sum(-1) > NEAR
        active, direction = active[promising], direction[promising]
        if not len(active):
            break
        step = size[active, None] * clip_length(direction, 2 * math.sqrt(model.latent))
        reached, there = _log_joint_in_units(model, x[active], start[active], u[active] + step)
        inverse[active] = _bfgs(inverse[active], step, gradient[active] - there, number == 0)
        better = reached > value[active]
        size[active] = torch.where(better, (2 * size[active]).clamp(max=1), size[active] / 4)
        taken = active[better]
        u[taken] += step[better]
        value[taken], gradient[taken] = reached[better], there[better]
    return Gaussian(start.draw(u[None])[0], start.factor), value


def _bfgs(inverse: Tensor, step: Tensor, change: Tensor, first: bool) -> Tensor:
    """Inverse Hessians of -log p after a step that changed its gradients: (n, d, d).

    Where log p is not concave along the step, they are left as they are; the first are scaled.
    """
    curvature = (step * change).sum(-1)[:, None, None]
    concave = curvature > 1e-6 * (step.norm(dim=-1) * change.norm(dim=-1))[:, None, None]
    if first:
        scale = curvature / change.square().sum(-1)[:, None, None]
        inverse = torch.where(concave, inverse * scale, inverse)
    step, change = step.unsqueeze(-1), change.unsqueeze(-1)
    seen = inverse @ change
    cross = step @ seen.mT
    stretch = (1 + (change.mT @ seen) / curvature) * (step @ step.mT)
    return torch.where(concave, inverse + (stretch - cross - cross.mT) / curvature, inverse)


def _log_joint_in_units(
    model: LatentVariableModel, x: Tensor, q: Gaussian, u: Tensor
) -> tuple[Tensor, Tensor]:
    """log p(x, z) at z = m + L u and its gradient in u: (n, d) -> (n,), (n, d)."""
    value, gradient = log_joint_gradient(model, x, q.draw(u[None]))
    return value[0], q.gradient_in_units(gradient)[0]
