"""The training loop: a stack of models, each on its own training set."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memo.datasets.prepared import Prepared
from memo.design.k_fold import IndexArray
from memo.design.seeds import substreams, torch_seed
from memo.errors import InputError, WorkError
from memo.mitigations.training_plan import TrainingPlan
from memo.models.build import initial_model
from memo.spec.model_specs import ModelSpec
from memo.training.augment import augmented
from memo.training.batches import Minibatches, Observations, drawn_apart, generators, padded
from memo.training.early_stopping import EarlyStopping, validation_splits
from memo.training.objective import Objective
from memo.training.optimizer import Adam, build_optimizer, set_learning_rate
from memo.training.precision import multiply_in_bfloat16
from memo.training.private import PoissonBatches, PrivateDescent
from memo.training.recorded import NotRecordedError
from memo.training.recorded_calls import Recorded
from memo.training.spectral import project
from memo.training.stack import Stack, Weights

__all__ = ["Trained", "TrainingError", "TrainingSet", "train_stack"]

SUMMED_ROWS = 4096
"""Losses of so many observations, over the models of a stack, are summed at a time."""

EVALUATED_FLOATS = 1 << 19
"""On a processor, observations of so many numbers are evaluated at a time, which stay in cache."""


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
    """What one model is trained on, what it is not, and its own seed."""

    members: IndexArray
    held_out: IndexArray
    seed: np.random.SeedSequence


@dataclass(frozen=True)
class Trained:
    """A trained model."""

    weights: dict[int, Weights]
    """State by epoch, for the epochs that were asked for."""
    losses: NDArray[np.float64]
    """(epochs, 2): mean loss after each epoch over a fixed random subset of the training set that
    is as large as the held-out set, and over the held-out set; nats. NaN where a set is empty."""


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
        model: What to train.
        plan: How. With early stopping, what is kept at an epoch are the best weights up to it, and
            losses after a model has stopped are those of its best epoch.
        data: The observations.
        training_sets: One for each model; results do not depend on the seeds of the others.
        epochs: Epochs after which weights are kept.
        device: Where to train.

    Raises:
        TrainingError: A loss is not finite; it names the model and the epoch.
    """
    seeds = [
        dict(zip(_STREAMS, substreams(s.seed, len(_STREAMS)), strict=True)) for s in training_sets
    ]
    values = Observations(data, device)
    stack = Stack(
        [initial_model(model, data.shape, torch_seed(seed["weights"])) for seed in seeds],
        device,
        partial(Objective, plan=plan),
    )
    losses_of = Recorded(stack.losses, stack, 2 * plan.epochs)
    members = [s.members for s in training_sets]
    stopping: EarlyStopping | None = None
    if plan.early_stopping is not None:
        validated, members = validation_splits(
            members, plan.early_stopping.fraction, [seed["split"] for seed in seeds]
        )
        validation = _Evaluation(
            validated, stack, values, [seed["validation"] for seed in seeds], losses_of
        )
        stopping = EarlyStopping(plan.early_stopping.patience, stack.size)
    streams, changes = (
        generators([seed[stream] for seed in seeds], device) for stream in ("noise", "augmentation")
    )
    evaluations = [
        _Evaluation(sets, stack, values, [seed["evaluation"] for seed in seeds], losses_of)
        for sets in (
            [
                _like_held_out(own, s.held_out, seed["subset"])
                for own, s, seed in zip(members, training_sets, seeds, strict=True)
            ],
            [s.held_out for s in training_sets],
        )
    ]
    optimizer = build_optimizer(stack, plan)
    batches, descend = _steps(plan, members, seeds, stack, optimizer)
    binary = model.support == "binary"
    losses = np.empty((plan.epochs, len(evaluations), stack.size))
    weights: dict[int, list[Weights]] = {}
    for epoch in range(1, plan.epochs + 1):
        set_learning_rate(optimizer, plan, epoch)
        if stopping is None or not stopping.stopped.all():
            for index, weights_of_steps in batches.epoch(device, math.prod(data.shape)):
                values_of_steps = values.drawn(index, streams)
                if plan.augmentation is not None:
                    values_of_steps = augmented(
                        plan.augmentation, values_of_steps, changes, binary=binary
                    )
                steps = (
                    values_of_steps,
                    _normal(stack.objective_noise_features, index, streams),
                    weights_of_steps,
                )
                for x, noise, weight in zip(*steps, strict=True):
                    descend(x, noise, weight)
                    if plan.spectral_bound is not None:
                        project(stack.matrices("decoder.", exactly=True), plan.spectral_bound)
            losses[epoch - 1] = [evaluation.mean_loss() for evaluation in evaluations]
        if stopping is not None:
            stopping.update(epoch, validation.mean_loss(), stack.weights)
            done, best = stopping.stopped, stopping.best_epoch - 1
            losses[epoch - 1, :, done] = losses[best[done], :, done]
        _require_finite(losses[epoch - 1], epoch)
        if epoch in epochs:
            weights[epoch] = stack.weights() if stopping is None else list(stopping.best)
    return [
        Trained({epoch: kept[i] for epoch, kept in weights.items()}, losses[:, :, i])
        for i in range(stack.size)
    ]


_STREAMS = (
    "weights",
    "order",
    "noise",
    "subset",
    "evaluation",
    "split",
    "validation",
    "augmentation",
    "privacy",
)

Descent: TypeAlias = Callable[[Tensor, Tensor, Tensor], None]
"""A step of every model on its own batch (S, B, *shape), with noise and weights."""


def _steps(
    plan: TrainingPlan,
    members: Sequence[IndexArray],
    seeds: Sequence[dict[str, np.random.SeedSequence]],
    stack: Stack,
    optimizer: Adam,
) -> tuple[Minibatches | PoissonBatches, Descent]:
    """Which batches, and what is done with each."""
    order = [seed["order"] for seed in seeds]
    if plan.privacy is None:
        batches = Minibatches(members, order, plan.batch_size)
        change = multiply_in_bfloat16 if plan.precision == "bfloat16" else None
        gradient = Recorded(stack.gradient, stack, plan.epochs * batches.steps, change)
        return batches, partial(_descend, gradient, optimizer)
    (own,), (seed,) = members, seeds
    device = stack.parameters[0].device
    (stream,) = generators([seed["privacy"]], device)
    return (
        PoissonBatches(own, seed["order"], plan.batch_size),
        PrivateDescent(stack, optimizer, plan, len(own), stream),
    )


def _descend(gradient: Recorded, optimizer: Adam, x: Tensor, noise: Tensor, weight: Tensor) -> None:
    try:
        gradients = gradient(x, noise, weight)
    except NotRecordedError as error:
        raise InputError(
            f"training.precision 'bfloat16' cannot train this model: {error}"
        ) from error
    optimizer.update(gradients)


class _Evaluation:
    """Mean loss of each model over a fixed set, with noise that is the same after every epoch."""

    def __init__(
        self,
        sets: Sequence[IndexArray],
        stack: Stack,
        values: Observations,
        seeds: Sequence[np.random.SeedSequence],
        losses: Recorded,
    ) -> None:
        self._losses = losses
        self._values = values
        self._index, weight = padded(sets)
        self._weight = weight.to(values.device)
        streams = generators(seeds, values.device)
        self._noise = _normal(stack.noise_features, self._index, streams)

    def mean_loss(self) -> NDArray[np.float64]:
        """(S,), nats; NaN for an empty set."""
        models, width = self._index.shape
        if width == 0:
            return np.full(models, np.nan)
        summed_rows = rows = max(1, SUMMED_ROWS // models)
        if self._values.device.type == "cpu":
            rows = max(1, min(rows, EVALUATED_FLOATS // (models * math.prod(self._values.shape))))
        parts = [torch.split(t, rows, 1) for t in (self._index, self._noise, self._weight)]
        weighted = [
            self._losses(self._values.scored(index), noise)[0] * weight
            for index, noise, weight in zip(*parts, strict=True)
        ]
        total = torch.zeros(models, device=self._values.device)
        for summed in torch.split(torch.cat(weighted, 1), summed_rows, 1):
            total += summed.sum(1)
        return total.cpu().numpy().astype(np.float64)


def _normal(features: int, index: Tensor, streams: Sequence[torch.Generator]) -> Tensor:
    """Standard normal draws for observations: (..., S, B) -> (..., S, B, features)."""
    *steps, _, width = index.shape
    return drawn_apart(torch.randn, (*steps, width, features), len(steps), streams)


def _like_held_out(
    members: IndexArray, held_out: IndexArray, seed: np.random.SeedSequence
) -> IndexArray:
    stream = np.random.Generator(np.random.PCG64(seed))
    size = len(held_out) or len(members)
    return np.sort(stream.choice(members, min(size, len(members)), replace=False))


def _require_finite(losses: NDArray[np.float64], epoch: int) -> None:
    wrong = ~np.isfinite(losses[0]) | (np.isinf(losses[1]))
    if wrong.any():
        raise TrainingError(int(np.flatnonzero(wrong)[0]), epoch)
