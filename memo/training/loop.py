"""The training loop: a stack of models, each on its own training set."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from memo.datasets.prepared import Prepared
from memo.design.k_fold import IndexArray
from memo.design.seeds import substream, torch_seed
from memo.errors import WorkError
from memo.mitigations.mitigation import Gradient, Run
from memo.mitigations.steps.early_stopping import EarlyStopping
from memo.mitigations.training_plan import TrainingPlan
from memo.models.build import initial_model
from memo.models.protocols import Initialized
from memo.spec.model_specs import ModelSpec
from memo.training.batches import (
    Minibatches,
    Observations,
    PlacedNumbers,
    PoissonBatches,
    generators,
)
from memo.training.evaluation import Evaluation, random_part
from memo.training.optimizer import build_optimizer
from memo.training.recorded_calls import Recorded
from memo.training.stack import Stack, Weights


class TrainingError(WorkError):
    """A model could not be trained."""

    def __init__(self, model: int, epoch: int) -> None:
        super().__init__(model, epoch)
        self.model = model
        """Position of the model in its stack."""
        self.epoch = epoch

    def __str__(self) -> str:
        return f"the loss is not finite after epoch {self.epoch}"


@dataclass(frozen=True)
class TrainingSet:
    """Observations that one model is trained on, those that it has held out, and its seeds.

    Models with an equal `common` seed start from the same weights, visit observations in the same
    order, and give an observation the same noise in the same epoch. So less of the difference
    between a model that has an observation and one that has not is noise. Each model by itself is
    as random as if all seeds were its own, and scores are differences of means over single models:
    their expectation is the same (common random numbers: Law 2015, Simulation Modeling and
    Analysis, section 11.2).
    """

    members: IndexArray
    held_out: IndexArray
    seed: np.random.SeedSequence
    """Seed of what is random about this model alone."""
    common: np.random.SeedSequence
    """Seed of what it has in common with others."""


@dataclass(frozen=True)
class Trained:
    """A trained model."""

    weights: dict[int, Weights]
    """State by epoch, for the epochs that were asked for."""
    losses: NDArray[np.float64]
    """(epochs, 2): mean loss after each epoch over a fixed random subset of the training set that
    is as large as the held-out set, and over the held-out set; nats. NaN where a set is empty."""


class _Stream(IntEnum):
    """Positions of a model's random streams; those of mitigations stand in their classes."""

    WEIGHTS = 0
    ORDER = 1
    NOISE = 2
    SUBSET = 3
    EVALUATION = 4
    VALIDATION = 6


def train_stack(
    model: ModelSpec,
    plan: TrainingPlan,
    data: Prepared,
    training_sets: Sequence[TrainingSet],
    epochs: Sequence[int],
    device: torch.device,
) -> list[Trained]:
    """Train one model on each training set, all of them together.

    Args:
        model: The model's family and size.
        plan: Settings and mitigations. With early stopping, the best weights up to an epoch are
            kept at that epoch, and losses after a model has stopped are those of its best epoch.
            Mitigations that act on the gradient of each observation promise something about the
            random numbers of each training; these have none in common.
        data: The observations.
        training_sets: One for each model; results do not depend on the seeds of the others.
        epochs: Epochs after which weights are kept.
        device: Device to train on.

    Raises:
        TrainingError: A loss is not finite; it names the model and the epoch.
    """

    def own(stream: int) -> list[np.random.SeedSequence]:
        return [substream(one.seed, stream) for one in training_sets]

    def common(stream: int) -> list[np.random.SeedSequence]:
        if plan.by_observation:
            return own(stream)
        return [substream(one.common, stream) for one in training_sets]

    # sets that they are trained on
    members: Sequence[IndexArray] = [one.members for one in training_sets]
    rules = (m.stopping(members, common(m.stream)) for m in plan.mitigations)
    stopping = next(filter(None, rules), None)
    if stopping is not None:
        members = stopping.members

    # models
    weights = map(torch_seed, common(_Stream.WEIGHTS))
    models = [initial_model(model, data.shape, seed) for seed in weights]
    observations = Observations(data, device)
    for one, trained_on in zip(models, members, strict=True):
        _initialize(one.to(device), observations, trained_on)
    stack = Stack(models, device, plan.loss)
    optimizer = build_optimizer(stack, plan)

    # sets that their losses are read from
    held_out = [one.held_out for one in training_sets]
    parts = [*map(random_part, members, map(len, held_out), own(_Stream.SUBSET))]
    evaluated = [(parts, own(_Stream.EVALUATION)), (held_out, own(_Stream.EVALUATION))]
    if stopping is not None:
        evaluated.append((list(stopping.validated), own(_Stream.VALIDATION)))
    fast_losses = Recorded(stack.losses, stack, 2 * plan.epochs)
    evaluations = [Evaluation(*sets, stack, fast_losses, observations) for sets in evaluated]
    history = _History(plan.epochs, stack, evaluations, stopping)

    # batches, and random numbers for them
    batches = _batches(plan, members, common(_Stream.ORDER), len(data))
    numbers = PlacedNumbers(common(_Stream.NOISE), device)
    numbers_of = {m.kind: PlacedNumbers(common(m.stream), device) for m in plan.mitigations}

    # gradients
    steps = plan.epochs * batches.steps
    fast_gradient = Recorded(stack.gradient, stack, steps, plan.precision)
    gradient: Gradient = fast_gradient
    streams = {m.kind: generators(own(m.stream), device) for m in plan.mitigations}
    for m in plan.mitigations:
        gradient = m.changed_gradient(Run(plan, stack, members, streams), gradient)

    for epoch in range(1, plan.epochs + 1):
        if not history.ended:
            optimizer.rate = plan.rate(epoch)
            for index, places, weight in batches.epoch(device, math.prod(data.shape)):
                draws = numbers.at(places, epoch)
                x = observations.drawn(index, draws)
                for m in plan.mitigations:
                    further = numbers_of[m.kind].at(places, epoch)
                    x = m.augmented(x, further, binary=model.support == "binary")
                noise = draws.normal(stack.objective_noise_features)
                for step in zip(x, noise, weight, strict=True):
                    optimizer.update(gradient(*step))
                    for m in plan.mitigations:
                        m.after_step(stack)
                    stack.average_weights()
        history.add(epoch, keep=epoch in epochs)
    return history.trained()


@torch.no_grad()
def _initialize(model: nn.Module, observations: Observations, members: IndexArray) -> None:
    """Have a model take what it takes from its own training set."""
    if isinstance(model, Initialized):
        model.initialize(observations.scored(torch.from_numpy(members)))


def _batches(
    plan: TrainingPlan,
    members: Sequence[IndexArray],
    seeds: Sequence[np.random.SeedSequence],
    observations: int,
) -> Minibatches | PoissonBatches:
    """Make the batches of a plan for these training sets."""
    if plan.by_observation:
        return PoissonBatches(members[0], seeds[0], plan.batch_size)
    return Minibatches(members, seeds, plan.batch_size, observations)


class _History:
    """Losses after each epoch, and weights at those that are kept.

    Args:
        epochs: Number of epochs.
        stack: The models.
        evaluations: Their losses in training, held out, and those that `stopping` goes by.
        stopping: The rule that ends their training, if there is one.
    """

    def __init__(
        self,
        epochs: int,
        stack: Stack,
        evaluations: Sequence[Evaluation],
        stopping: EarlyStopping | None,
    ) -> None:
        self._stack = stack
        self._evaluations = evaluations
        self._stopping = stopping
        self._losses = np.empty((epochs, 2, stack.size))
        self._weights: dict[int, list[Weights]] = {}

    @property
    def ended(self) -> bool:
        """True once each model has stopped."""
        return self._stopping is not None and bool(self._stopping.stopped.all())

    def add(self, epoch: int, *, keep: bool) -> None:
        """Add an epoch, counted from 1, with the losses after it.

        Raises:
            TrainingError: A loss is not finite.
        """
        losses, stopping = self._losses, self._stopping
        if not self.ended:
            means = [evaluation.mean_loss() for evaluation in self._evaluations]
            losses[epoch - 1] = means[:2]
            if stopping is not None:
                stopping.update(epoch, means[2], self._stack.weights)
        if stopping is not None:
            done, best = stopping.stopped, stopping.best_epoch - 1
            losses[epoch - 1, :, done] = losses[best[done], :, done]
        in_training, held_out = losses[epoch - 1]
        wrong = ~np.isfinite(in_training) | np.isinf(held_out)
        if wrong.any():
            raise TrainingError(int(np.flatnonzero(wrong)[0]), epoch)
        if keep:
            self._weights[epoch] = (
                self._stack.weights() if stopping is None else list(stopping.best)
            )

    def trained(self) -> list[Trained]:
        """The trained models."""
        return [
            Trained(
                {epoch: kept[i] for epoch, kept in self._weights.items()}, self._losses[:, :, i]
            )
            for i in range(self._stack.size)
        ]
