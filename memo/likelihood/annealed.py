"""log p(x) by annealed importance sampling: slow, and independent of `adaptive`'s proposals."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from memo.likelihood.decoding import log_joint, pieces
from memo.likelihood.proposal import Gaussian, encoder_gaussian
from memo.likelihood.weights import LogLikelihood, concatenate, log_mean_exp, pareto_k
from memo.models import LatentVariableModel

__all__ = ["annealed_log_likelihood"]

LEAPFROG_STEPS = 5

ACCEPTANCE = 0.8
"""Share of accepted moves that each observation's step size is steered to."""

WIDENING = 1.5
"""Of the encoder's standard deviations, so that chains start with more spread than they need."""


def annealed_log_likelihood(
    model: LatentVariableModel, x: Tensor, temperatures: int, chains: int, seed: int
) -> LogLikelihood:
    """log p(x) from chains that move from the encoder's Gaussian q to the posterior.

    Chain by chain, sum_t (b_t - b_{t-1}) log [p(x, z_{t-1}) / q(z_{t-1})] is the logarithm of a
    weight whose mean is p(x); between temperatures Hamiltonian Monte Carlo leaves
    q(z)^(1 - b) p(x, z)^b invariant (Neal 2001, Annealed importance sampling; Wu et al. 2017, On
    the quantitative analysis of decoder-based generative models, section 3).

    Args:
        model: The latent-variable model.
        x: Observations, (n, *shape), on the model's device.
        temperatures: Steps from q to the posterior.
        chains: Chains for each observation; each counts as one of `samples`.
        seed: Seed of starts, momenta and acceptances.
    """
    generator = torch.Generator().manual_seed(seed)
    estimates = []
    for rows in pieces(len(x), chains * x[0].numel(), x.device):
        log_weights = _anneal(model, x[rows], temperatures, chains, generator)
        value, std_error, effective = (part.numpy() for part in log_mean_exp(log_weights))
        samples = np.full(len(value), chains, dtype=np.int64)
        k = pareto_k(log_weights)
        estimates.append(LogLikelihood(value, std_error, effective, samples, k))
    return concatenate(estimates)


@dataclass(frozen=True)
class _State:
    """Chains at u, z = m + L u: log N(u), log p(x, z) / q(z) and its gradient in u."""

    u: Tensor
    log_ratio: Tensor
    gradient: Tensor

    def log_density(self, beta: float) -> Tensor:
        return beta * self.log_ratio - 0.5 * self.u.square().sum(-1)

    def force(self, beta: float) -> Tensor:
        return beta * self.gradient - self.u

    def where(self, accepted: Tensor, other: "_State") -> "_State":
        return _State(
            torch.where(accepted.unsqueeze(-1), other.u, self.u),
            torch.where(accepted, other.log_ratio, self.log_ratio),
            torch.where(accepted.unsqueeze(-1), other.gradient, self.gradient),
        )


@dataclass(frozen=True)
class _Path:
    """From q, the encoder's Gaussian made wider, to log p(x, z)."""

    model: LatentVariableModel
    x: Tensor
    q: Gaussian

    def state(self, u: Tensor) -> _State:
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            z = self.q.draw(u)
            log_ratio = log_joint(self.model, self.x, z) - self.q.log_prob(z)
            (gradient,) = torch.autograd.grad(log_ratio.sum(), u)
        return _State(u.detach(), log_ratio.detach(), gradient)

    def leap(
        self, start: _State, momentum: Tensor, step_size: Tensor, beta: float
    ) -> tuple[_State, Tensor]:
        """Where leapfrog steps lead, and the log of the probability to accept it.

        Neal 2011, MCMC using Hamiltonian dynamics, section 2.3.
        """
        size = step_size[:, None]
        state, p = start, momentum
        for _ in range(LEAPFROG_STEPS):
            p = p + 0.5 * size * state.force(beta)
            state = self.state(state.u + size * p)
            p = p + 0.5 * size * state.force(beta)
        energy = 0.5 * (momentum.square() - p.square()).sum(-1)
        change = state.log_density(beta) - start.log_density(beta) + energy
        return state, torch.nan_to_num(change, nan=-torch.inf)


def _anneal(
    model: LatentVariableModel,
    x: Tensor,
    temperatures: int,
    chains: int,
    generator: torch.Generator,
) -> Tensor:
    """Logarithms of the chains' weights, (chains, n)."""
    with torch.no_grad():
        encoder = encoder_gaussian(model, x)
    path = _Path(model, x, Gaussian(encoder.mean, WIDENING * encoder.factor))
    shape = (chains, *encoder.mean.shape)
    state = path.state(torch.randn(shape, generator=generator).to(x))
    log_weights = torch.zeros_like(state.log_ratio)
    step_size = x.new_full((len(x),), 0.2)
    for step in range(1, temperatures + 1):
        log_weights += state.log_ratio / temperatures
        momentum = torch.randn(shape, generator=generator).to(x)
        threshold = torch.rand(shape[:2], generator=generator).to(x).log()
        moved, log_acceptance = path.leap(state, momentum, step_size, step / temperatures)
        state = state.where(threshold < log_acceptance, moved)
        rate = log_acceptance.exp().clamp(max=1).mean(0)
        step_size = step_size * torch.exp(0.1 * (rate - ACCEPTANCE))
    return log_weights
