"""Training the models of an experiment: cut into stacks, one task each."""

import time
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

import numpy as np
import torch

from memo.datasets.prepared import Prepared
from memo.errors import WorkError
from memo.execution.protocol import Executor, Lazy
from memo.experiments.experiment import Experiment, ModelPlan
from memo.mitigations.training_plan import TrainingPlan, training_plan
from memo.models.build import build_model
from memo.models.protocols import FitError, Fitted
from memo.spec.model_specs import CustomSpec, ModelSpec, source_of
from memo.spec.user_code import errors_of
from memo.training.contract import TRIED, why_not_stacked
from memo.training.device import default_device, one_thread
from memo.training.fit import fit_model
from memo.training.loop import Trained, TrainingError, TrainingSet, train_stack
from memo.training.stack import stack_size


@dataclass(frozen=True)
class TrainedStack:
    """Models that were trained as one."""

    models: Sequence[ModelPlan]
    trained: Sequence[Trained]
    """In the order of `models`."""
    seconds: float
    """Processor time of each, as its share of the stack's."""


def train_models(
    experiment: Experiment,
    wanted: Collection[str],
    executor: Executor,
    tell: Callable[[str], object] = lambda words: None,
    begin: Callable[[Sequence[ModelPlan]], object] = lambda stack: None,
) -> Generator[TrainedStack, None, None]:
    """Train models of an experiment, and yield them stack by stack as they are done.

    Which models share a stack is a function of the spec alone, so that results do not depend on
    which of them are wanted: a stack with any wanted model is trained whole.

    Args:
        experiment: What to train; see `memo.experiments.readiness` for what to try before.
        wanted: Names of models.
        executor: Where tasks run.
        tell: Given a sentence where models cannot be trained in stacks.
        begin: Given each stack whose training begins.

    Raises:
        CodeError: Code of the user's own raises an error.
        WorkError: A loss is not finite, or a density has no fit: names experiment, model and epoch.
    """
    if not wanted:
        return
    stacks = [s for s in _stacks(experiment, tell) if any(model.name in wanted for model in s)]
    # what takes longest starts first, so that all workers end together
    stacks.sort(key=lambda stack: sum(len(model.members) for model in stack), reverse=True)
    spec = experiment.spec
    plan = training_plan(spec.training, spec.mitigations)
    shared = _Shared(spec.model, plan, experiment.data, spec.scoring.epochs)

    def task(stack: Sequence[ModelPlan]) -> list[TrainingSet]:
        begin(stack)
        return [TrainingSet(m.members, m.held_out, m.seed, m.common) for m in stack]

    tasks = Lazy(task, stacks)
    names = [f"experiment {experiment.name}, {_words(stack)}" for stack in stacks]
    with closing(executor.run(_train, shared, tasks, names)) as outcomes:
        for position, (outcome, seconds) in outcomes:
            stack = stacks[position]
            if isinstance(outcome, Exception):
                culprit = outcome.model if isinstance(outcome, TrainingError) else 0
                raise WorkError(f"experiment {experiment.name}, {stack[culprit].words}: {outcome}")
            yield TrainedStack(stack, outcome, seconds / len(stack))


def train_or_fit(
    model: ModelSpec,
    plan: TrainingPlan,
    data: Prepared,
    training_sets: Sequence[TrainingSet],
    epochs: Sequence[int],
) -> list[Trained]:
    """Train one model on each training set: by gradient descent as a stack, or by its own fit.

    Args:
        model: What to train.
        plan: How, where it is trained by gradient descent.
        data: The observations.
        training_sets: One for each model.
        epochs: Epochs after which weights are kept.

    Raises:
        TrainingError: A loss is not finite.
        FitError: There is no fit.
    """
    if isinstance(build_model(model, data.shape), Fitted):
        return [fit_model(model, data, one, epochs) for one in training_sets]
    return train_stack(model, plan, data, training_sets, epochs, default_device())


def _why_not_stacked(experiment: Experiment) -> str | None:
    """Say why a model of the user's own cannot be trained in a stack; None where it can."""
    model = experiment.spec.model
    if not isinstance(model, CustomSpec) or isinstance(experiment.blank_model, Fitted):
        return None
    with one_thread():
        return why_not_stacked(model, _tried(experiment))


def _tried(experiment: Experiment) -> torch.Tensor:
    rows = np.array(experiment.data.scored[np.arange(min(TRIED, len(experiment.data)))])
    return torch.from_numpy(rows).to(default_device(), torch.float32)


def _stacks(experiment: Experiment, tell: Callable[[str], object]) -> list[Sequence[ModelPlan]]:
    """Cut the models of each repeat into stacks; the full model is a stack of its own."""
    model = experiment.blank_model
    plan = training_plan(experiment.spec.training, experiment.spec.mitigations)
    reason = _why_not_stacked(experiment)
    if reason is not None:
        tell(f"models are trained one by one, not as a stack: {reason}")
    alone = isinstance(model, Fitted) or plan.by_observation or reason is not None
    parameters = sum(p.numel() for p in model.parameters())
    stacks: list[Sequence[ModelPlan]] = []
    for _, group in groupby(experiment.trained_models, key=lambda model: model.repeat):
        models = list(group)
        size = 1 if alone else stack_size(parameters, len(models))
        stacks += [models[start : start + size] for start in range(0, len(models), size)]
    return stacks


def _words(stack: Sequence[ModelPlan]) -> str:
    return " to ".join(dict.fromkeys((stack[0].words, stack[-1].words)))


@dataclass(frozen=True)
class _Shared:
    model: ModelSpec
    plan: TrainingPlan
    data: Prepared
    epochs: list[int]


Outcome: TypeAlias = list[Trained] | TrainingError | FitError


def _train(shared: _Shared, training_sets: list[TrainingSet]) -> tuple[Outcome, float]:
    """Train a stack; return the models, or why there are none, and the processor seconds."""
    start = time.process_time()
    try:
        with one_thread(), errors_of(source_of(shared.model), "what trains it"):
            outcome: Outcome = train_or_fit(
                shared.model, shared.plan, shared.data, training_sets, shared.epochs
            )
    except (TrainingError, FitError) as error:
        outcome = error
    return outcome, time.process_time() - start
