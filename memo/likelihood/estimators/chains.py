"""Weights of Markov chains that move from a proposal to the posterior."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from memo.likelihood.decoding import log_joint_gradient
from memo.models.protocols import LatentVariableModel

__all__ = ["Path", "State", "anneal"]


ACCEPTANCE = 0.8
"""Share of accepted moves that step sizes are steered to."""


class Proposal(Protocol):
    """A density of the latent variables, one for each of n observations."""

    def log_prob(self, z: Tensor) -> Tensor:
        """(S, n, d) -> (S, n)."""
        ...


@dataclass(frozen=True)
class State:
    """Chains at z, with log q(z), log p(x, z) / q(z), and both gradients in units of the path."""

    z: Tensor
    log_q: Tensor
    log_ratio: Tensor
    slope_q: Tensor
    slope_ratio: Tensor

    def log_density(self, beta: float) -> Tensor:
        return self.log_q + beta * self.log_ratio

    def force(self, beta: float) -> Tensor:
        return self.slope_q + beta * self.slope_ratio

    def where(self, accepted: Tensor, other: "State") -> "State":
        chosen = accepted.unsqueeze(-1)
        return State(
            torch.where(chosen, other.z, self.z),
            torch.where(accepted, other.log_q, self.log_q),
            torch.where(accepted, other.log_ratio, self.log_ratio),
            torch.where(chosen, other.slope_q, self.slope_q),
            torch.where(chosen, other.slope_ratio, self.slope_ratio),
        )


@dataclass(frozen=True)
class Path:
    """From q to p(x, z), for n observations at once."""

    model: LatentVariableModel
    x: Tensor
    q: Proposal

    factor: Tensor
    """The units of the chains' moves: of a Gaussian's deviations from its mean, (n, d, d)."""

    leapfrog_steps: int

    def state(self, z: Tensor) -> State:
        with torch.enable_grad():
            at = z.detach().requires_grad_()
            log_q = self.q.log_prob(at)
            (slope_q,) = torch.autograd.grad(log_q.sum(), at)
        log_p, slope_p = log_joint_gradient(self.model, self.x, z)
        return State(
            z,
            log_q.detach(),
            log_p - log_q.detach(),
            self._in_units(slope_q),
            self._in_units(slope_p - slope_q),
        )

    def leap(
        self, start: State, momentum: Tensor, step_size: Tensor, beta: float
    ) -> tuple[State, Tensor]:
        """Where leapfrog steps lead, and the probability to accept it, (S, n).

        Neal 2011, MCMC using Hamiltonian dynamics, section 2.3.

        Args:
            start: Of S chains for each observation.
            momentum: Standard normal draws, (S, n, d).
            step_size: In units of the path, (n,).
            beta: The chains leave q^(1 - beta) p^beta invariant.
        """
        size = step_size[:, None]
        state, p = start, momentum
        for _ in range(self.leapfrog_steps):
            p = p + 0.5 * size * state.force(beta)
            state = self.state(state.z + torch.einsum("nij,snj->sni", self.factor, size * p))
            p = p + 0.5 * size * state.force(beta)
        energy = 0.5 * (momentum.square() - p.square()).sum(-1)
        change = state.log_density(beta) - start.log_density(beta) + energy
        return state, torch.nan_to_num(change, nan=-torch.inf).exp().clamp(max=1)

    def _in_units(self, slope: Tensor) -> Tensor:
        return torch.einsum("nij,sni->snj", self.factor, slope)


def anneal(
    path: Path,
    z: Tensor,
    temperatures: int,
    step_size: Tensor,
    draws: Callable[[int], tuple[Tensor, Tensor]],
    steering: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Where chains end, (S, n, d), the logarithms of their weights, (S, n), and step sizes
    for the next ones, (n,).

    sum_t (b_t - b_{t-1}) log [p(x, z_{t-1}) / q(z_{t-1})] is the logarithm of a weight whose mean
    is p(x); between temperatures Hamiltonian Monte Carlo leaves q(z)^(1 - b) p(x, z)^b invariant
    (Neal 2001, Annealed importance sampling).

    Args:
        path: From q to the posterior.
        z: Draws from q, (S, n, d).
        temperatures: Steps from q to the posterior; with one it is importance sampling.
        step_size: In units of the path, (n,).
        draws: For each temperature, momenta (S, n, d), and uniform draws (S, n) that accept.
        steering: How fast step sizes follow the share of accepted moves. Above 0 a chain has a say
            in later steps of the others, and the mean weight is p(x) only nearly.
    """
    state = path.state(z)
    log_weights = torch.zeros_like(state.log_q)
    accepted = []
    for step in range(1, temperatures + 1):
        log_weights += state.log_ratio / temperatures
        if step == temperatures:
            break
        momentum, uniform = draws(step)
        moved, acceptance = path.leap(state, momentum, step_size, step / temperatures)
        state = state.where(uniform < acceptance, moved)
        accepted.append(acceptance.mean(0))
        step_size = step_size * torch.exp(steering * (accepted[-1] - ACCEPTANCE))
    return state.z, log_weights, step_size * torch.exp(torch.stack(accepted).mean(0) - ACCEPTANCE)
