"""log p(x) by importance sampling from proposals made for each x, until it is precise enough."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memo.likelihood.decoding import log_joint
from memo.likelihood.estimators.chains import AnnealingPath, anneal
from memo.likelihood.importance_weights import LogLikelihood, concatenate, log_mean_exp, pareto_k
from memo.likelihood.proposals.gradients import refine
from memo.likelihood.proposals.mixture import Mixture
from memo.likelihood.proposals.modes import PRIOR_DRAWS, first_proposal, with_gaussian_at
from memo.likelihood.proposals.posterior import only_gradients_are_known
from memo.likelihood.streams import Streams, blocks
from memo.models.protocols import LatentVariableModel

LEAPFROG_STEPS = 2
"""Leapfrog steps between two temperatures."""


class Stage(NamedTuple):
    """A round of draws for the observations that are not precise enough yet."""

    draws: int
    """Draws from the proposal, in two halves that judge each other."""

    temperatures: int
    """1: draws are weighted where they are; more: they become chains that move to the posterior."""

    then: Literal["nothing", "refine", "add"]
    """The improvement of the proposal for those that are still not precise enough.

    Its first Gaussian is refined by gradients, or one more Gaussian is added, found from the draw
    of the largest weight.
    """

    @property
    def cost(self) -> int:
        """Latent draws that the decoder is evaluated at for an observation."""
        return self.draws * (1 + LEAPFROG_STEPS * (self.temperatures - 1))

    def within(self, cost: int) -> "Stage":
        """Cap the draws at as many as `cost` allows."""
        return self._replace(draws=2 * (cost * self.draws // (2 * self.cost)))


DRAWS_ALONE = (
    #     draws, temperatures, then
    Stage(32, 1, "nothing"),
    Stage(64, 1, "add"),
)
"""The stages where the first proposal costs little; the last is repeated, with twice the draws each
time."""

DRAWS_THEN_CHAINS = (
    #     draws, temperatures, then
    Stage(128, 1, "refine"),
    Stage(128, 1, "add"),
    Stage(32, 5, "add"),
    Stage(32, 9, "add"),
    Stage(32, 17, "add"),
    Stage(64, 17, "add"),
)
"""The stages where only gradients are known of the decoder; the last is repeated likewise.

A proposal is costly to find there, and more draws cost little beside it; few that look precise
often are not.
"""

FEW_LATENTS = 4
"""So many latent variables, or fewer, have no need of chains: draws from the prior reach modes that
no Gaussian covers, as long as the evaluations go into draws."""

TAIL_WORTH_FITTING = 128
"""Draws from one proposal from which on the Pareto k of their weights is fitted."""

STEP_SIZE = 1.4
"""First size of a leapfrog step, in posterior standard deviations, over the fourth root of d."""


@torch.no_grad()
def adaptive_log_likelihood(
    model: LatentVariableModel, x: Tensor, tolerance: float, max_samples: int, seed: int
) -> LogLikelihood:
    """log mean of p(x, z) / q(z), with q close to p(z | x) and as many draws as it takes.

    Stages follow one another (`DRAWS_ALONE`, `DRAWS_THEN_CHAINS`). The two independent halves of a
    stage's draws judge each other: where one is precise enough, by its own standard error, the
    other's mean weight is half of the estimate. What is left open, all of the estimate or half of
    it, goes to the next stage: to more draws from a better q, with one more Gaussian found from the
    heaviest draw (as in Raftery & Bao 2010, Estimating and projecting trends in HIV/AIDS
    generalized epidemics using incremental mixture importance sampling, section 2), and to chains
    that move from q to the posterior (`anneal`), whose weights vary less.

    So no draw has a say in whether it is averaged itself, none is thrown away where the first q
    serves, and the estimate of p(x) is unbiased (`tests/test_likelihood.py` has a thousand of
    one). To stop as soon as the draws themselves look precise reads log p(x) too low, since draws
    that miss the heavy weights are those that look precise.

    Args:
        model: The latent-variable model.
        x: Observations, (n, *shape), on the model's device.
        tolerance: Standard error in nats that estimates keep to, but for few.
        max_samples: The most draws for an observation; where they do not suffice, its standard
            error stays above the tolerance.
        seed: Draws depend on it and on an observation's position in x, and on nothing else; the
            draws from the prior among which other modes are looked for depend on the block.
    """
    return concatenate(
        [
            _block(model, block, tolerance, max_samples, streams)
            for block, streams in blocks(x, x[0].numel(), seed)
        ]
    )


def _block(
    model: LatentVariableModel, x: Tensor, tolerance: float, max_samples: int, streams: Streams
) -> LogLikelihood:
    prior_draws = streams.shared(torch.randn, (PRIOR_DRAWS, model.latent), (0, 1, 0)).to(x)
    proposal = first_proposal(model, x, prior_draws)
    step_size = x.new_full((len(x),), STEP_SIZE * model.latent**-0.25)
    sampler = _Sampler(model, x, proposal, np.arange(len(x)), streams, step_size)
    estimate = _Estimate(len(x))
    stages = _affordable(_schedule(model, proposal), max_samples)
    for number, stage in enumerate(stages, 1):
        z, log_weights, sampler = sampler.draw(stage, number)
        allowed = tolerance if number < len(stages) else math.inf
        is_open = estimate.add(sampler.positions, log_weights, stage.cost, allowed)
        if not is_open.any():
            break
        sampler = sampler[is_open].improved(stage, _heaviest(z, log_weights)[is_open])
    return estimate.result()


def _schedule(model: LatentVariableModel, proposal: Mixture) -> tuple[Stage, ...]:
    needs_chains = model.latent > FEW_LATENTS and not proposal.affine
    if needs_chains and only_gradients_are_known(model, proposal.gaussians[0].mean):
        return DRAWS_THEN_CHAINS
    return DRAWS_ALONE


def _affordable(schedule: tuple[Stage, ...], max_samples: int) -> list[Stage]:
    """The stages that `max_samples` allow, of which the last has all the draws that are left."""
    stages = list(schedule)
    while _total(stages) <= max_samples:
        stages.append(stages[-1]._replace(draws=2 * stages[-1].draws))
    while len(stages) > 1 and _total(stages) > max_samples:
        stages.pop()
    *whole, last = stages
    return [*whole, last.within(max_samples - _total(whole))]


def _total(stages: Sequence[Stage]) -> int:
    return sum(stage.cost for stage in stages)


@dataclass(frozen=True)
class _Sampler:
    """Importance sampling for some observations of a block."""

    model: LatentVariableModel
    x: Tensor
    proposal: Mixture

    positions: NDArray[np.int64]
    """Positions of the observations in the block."""

    streams: Streams

    step_size: Tensor
    """Step size of the chains, in units of the proposal's first Gaussian, (n,)."""

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "_Sampler":
        rows = torch.from_numpy(chosen).to(self.x.device)
        return replace(
            self,
            x=self.x[rows],
            proposal=self.proposal[rows],
            positions=self.positions[chosen],
            step_size=self.step_size[rows],
        )

    def draw(self, stage: Stage, number: int) -> tuple[Tensor, Tensor, "_Sampler"]:
        """Latent draws, the logarithms of their weights, and the sampler for the next stage.

        Returns:
            (S, n, d), (S, n), and the sampler.
        """
        shape = (stage.draws, self.model.latent)
        noise = self._random(torch.randn, shape, (number, 1, 0))
        z = self.proposal.draw(noise, self._random(torch.rand, shape[:1], (number, 1, 1)))
        if stage.temperatures == 1:
            return z, log_joint(self.model, self.x, z) - self.proposal.log_prob(z), self
        units = self.proposal.gaussians[0]
        path = AnnealingPath(self.model, self.x, self.proposal, units, LEAPFROG_STEPS)

        def draws(step: int) -> tuple[Tensor, Tensor]:
            momentum = self._random(torch.randn, shape, (number, 2, step))
            return momentum, self._random(torch.rand, shape[:1], (number, 3, step))

        z, log_weights, next_size = anneal(path, z, stage.temperatures, self.step_size, draws)
        return z, log_weights, replace(self, step_size=next_size)

    def improved(self, stage: Stage, heaviest: Tensor) -> "_Sampler":
        """With a better proposal, given the draws of the largest weights, (n, d)."""
        match stage.then:
            case "nothing":
                return self
            case "refine":
                first, *others = self.proposal.gaussians
                better = (refine(self.model, self.x, first), *others)
                return replace(self, proposal=replace(self.proposal, gaussians=better))
            case "add":
                proposal = with_gaussian_at(self.model, self.x, self.proposal, heaviest)
                return replace(self, proposal=proposal)
            case _:
                assert_never(stage.then)

    def _random(
        self,
        distribution: Callable[..., Tensor],
        shape: tuple[int, ...],
        purpose: tuple[int, int, int],
    ) -> Tensor:
        return self.streams.draw(distribution, shape, self.positions, purpose).to(self.x)


class _Estimate:
    """Estimates of p(x) for a block's observations, as sums of shares; all in logarithms."""

    def __init__(self, count: int) -> None:
        self.open = np.zeros(count)
        """The share of the estimate that is still to come; 1 at first."""
        self.value, self.variance, self.squares = np.full((3, count), -np.inf)
        """p(x), the variance of its estimate, and the sum of the squares of all weights' parts."""
        self.samples = np.zeros(count, dtype=np.int64)
        self.pareto_k = np.zeros(count)

    def add(
        self, positions: NDArray[np.int64], log_weights: Tensor, cost: int, tolerance: float
    ) -> NDArray[np.bool_]:
        """Enter each half if the other is precise enough.

        Args:
            positions: Positions of the observations in the block, (n,).
            log_weights: Weights of both halves, one after the other, (S, n).
            cost: Latent draws that the decoder was evaluated at for them.
            tolerance: Standard error in nats; infinite to enter everything.

        Returns:
            True for observations that have a share left open, (n,).
        """
        halves = [log_mean_exp(half) for half in log_weights.chunk(2)]
        precise = np.stack([std_error <= tolerance for _, std_error, _ in halves])
        for entered, (value, std_error, effective) in zip(precise[::-1], halves, strict=True):
            at = positions[entered]
            part = (self.open[positions] + math.log(0.5) + value)[entered]
            self.value[at] = np.logaddexp(self.value[at], part)
            variance, squares = (
                2 * (part + _log(std_error[entered])),
                2 * part - np.log(effective[entered]),
            )
            self.variance[at] = np.logaddexp(self.variance[at], variance)
            self.squares[at] = np.logaddexp(self.squares[at], squares)
        self.open[positions] += _log(1 - precise.mean(0))
        self.samples[positions] += cost
        if len(log_weights) >= TAIL_WORTH_FITTING or tolerance == math.inf:
            used = precise.any(0)
            self.pareto_k[positions[used]] = pareto_k(log_weights[:, torch.from_numpy(used)])
        return np.asarray(self.open[positions] > -np.inf)

    def result(self) -> LogLikelihood:
        std_error = np.exp(self.variance / 2 - self.value)
        effective = np.exp(2 * self.value - self.squares)
        return LogLikelihood(self.value, std_error, effective, self.samples, self.pareto_k)


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithm, -inf of 0."""
    with np.errstate(divide="ignore"):
        return np.log(values)


def _heaviest(z: Tensor, log_weights: Tensor) -> Tensor:
    """The draw of the largest weight: (S, n, d), (S, n) -> (n, d)."""
    return z[log_weights.argmax(0), torch.arange(z.shape[1], device=z.device)]
