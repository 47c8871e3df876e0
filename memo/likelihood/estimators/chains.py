"""Weights of Markov chains that move from a proposal to the posterior."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from memo.likelihood.decoding import log_joint_gradient
from memo.likelihood.proposals.latent_gaussian import Gaussian
from memo.likelihood.proposals.mixture import Mixture
from memo.models.protocols import LatentVariableModel

ACCEPTANCE = 0.8
"""Share of accepted moves that step sizes are steered to."""


class ChainState(NamedTuple):
    """S chains for each of n observations: (S, n), and (S, n, d) for z and gradients.

    Gradients are in units of the path.
    """

    z: Tensor
    log_q: Tensor

    log_ratio: Tensor
    """log p(x, z) - log q(z)."""

    gradient_q: Tensor
    gradient_ratio: Tensor

    def moved(self, accepted: Tensor, other: "ChainState") -> "ChainState":
        """`other` for the chains that accept it, (S, n), and this for the rest."""
        chosen = accepted.unsqueeze(-1)
        return ChainState(
            *(
                torch.where(accepted if old.ndim == accepted.ndim else chosen, new, old)
                for old, new in zip(self, other, strict=True)
            )
        )


@dataclass(frozen=True)
class AnnealingPath:
    """The densities q(z)^(1 - beta) p(x, z)^beta for beta from 0 to 1, for n observations."""

    model: LatentVariableModel
    x: Tensor
    q: Gaussian | Mixture

    units: Gaussian
    """The Gaussian in whose standard deviations chains move."""

    leapfrog_steps: int

    def state(self, z: Tensor) -> ChainState:
        """Chains at z, (S, n, d)."""
        with torch.enable_grad():
            at = z.detach().requires_grad_()
            log_q = self.q.log_prob(at)
            (gradient_q,) = torch.autograd.grad(log_q.sum(), at)
        log_q = log_q.detach()
        log_p, gradient_p = log_joint_gradient(self.model, self.x, z)
        gradients = (self.units.gradient_in_units(g) for g in (gradient_q, gradient_p - gradient_q))
        return ChainState(z, log_q, log_p - log_q, *gradients)

    def leap(
        self, start: ChainState, momentum: Tensor, step_size: Tensor, beta: float
    ) -> tuple[ChainState, Tensor]:
        """Follow leapfrog steps; return their end and the probability to accept it, (S, n).

        Neal 2011, MCMC using Hamiltonian dynamics, section 2.3.

        Args:
            start: S chains for each observation.
            momentum: Standard normal draws, (S, n, d).
            step_size: In units of the path, (n,).
            beta: The chains leave q^(1 - beta) p^beta invariant.
        """
        size = step_size[:, None]
        state, p = start, momentum
        for _ in range(self.leapfrog_steps):
            p = p + 0.5 * size * (state.gradient_q + beta * state.gradient_ratio)
            state = self.state(state.z + torch.einsum("nij,snj->sni", self.units.factor, size * p))
            p = p + 0.5 * size * (state.gradient_q + beta * state.gradient_ratio)
        energy = 0.5 * (momentum.square() - p.square()).sum(-1)
        change = state.log_q - start.log_q + beta * (state.log_ratio - start.log_ratio) + energy
        return state, torch.nan_to_num(change, nan=-torch.inf).exp().clamp(max=1)


def anneal(
    path: AnnealingPath,
    z: Tensor,
    temperatures: int,
    step_size: Tensor,
    draws: Callable[[int], tuple[Tensor, Tensor]],
    steering: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Ends of chains, the logarithms of their weights, and step sizes for the next chains.

    sum_t (b_t - b_{t-1}) log [p(x, z_{t-1}) / q(z_{t-1})] is the logarithm of a weight whose mean
    is p(x); between temperatures Hamiltonian Monte Carlo leaves q(z)^(1 - b) p(x, z)^b invariant
    (Neal 2001, Annealed importance sampling).

    Args:
        path: The path from q to the posterior.
        z: Draws from q, (S, n, d).
        temperatures: Steps from q to the posterior, at least 2.
        step_size: In units of the path, (n,).
        draws: For each temperature, momenta (S, n, d), and uniform draws (S, n) that accept.
        steering: Rate at which step sizes follow the share of accepted moves. Above 0 a chain has a
            say in later steps of the others, and the mean weight is p(x) only nearly.

    Returns:
        (S, n, d), (S, n) and (n,).
    """
    state = path.state(z)
    log_weights = state.log_ratio / temperatures
    accepted = []
    for step in range(1, temperatures):
        momentum, uniform = draws(step)
        reached, acceptance = path.leap(state, momentum, step_size, step / temperatures)
        state = state.moved(uniform < acceptance, reached)
        log_weights += state.log_ratio / temperatures
        accepted.append(acceptance.mean(0))
        step_size = step_size * torch.exp(steering * (accepted[-1] - ACCEPTANCE))
    return state.z, log_weights, step_size * torch.exp(torch.stack(accepted).mean(0) - ACCEPTANCE)
