"""train: prepared data -> one file for each fold model, and one for the full model."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from memo.artifacts.files import make_folder, remove_leftovers
from memo.artifacts.model_files import ModelFile, fold_file, full_model_file
from memo.artifacts.training_seconds import read_seconds, write_seconds
from memo.datasets.prepared import Prepared
from memo.design.k_fold import IndexArray
from memo.design.seeds import Stream, seed_sequence
from memo.errors import WorkError
from memo.execution.protocol import Executor
from memo.mitigations.training_plan import TrainingPlan, training_plan
from memo.models.build import build_model
from memo.models.protocols import FitError, Fitted
from memo.pipeline.exclusive import exclusive
from memo.pipeline.experiment import Experiment
from memo.pipeline.progress import console, progress, telling_kept
from memo.spec.model_specs import CustomSpec, ModelSpec, source_of
from memo.spec.user_code import errors_of
from memo.training.contract import TRIED, check_contract, why_not_stacked
from memo.training.device import default_device, one_thread
from memo.training.fit import fit_model
from memo.training.loop import Trained, TrainingError, TrainingSet, train_stack
from memo.training.stack import stack_size

__all__ = ["require_contract", "train"]


@exclusive
def train(experiment: Experiment, executor: Executor) -> int:
    """Train every model whose file is missing or does not hold; returns how many.

    Raises:
        InputError: A model of the user's own does not offer what it must.
        WorkError: A loss is not finite: names experiment, repeat, fold and epoch. Or another
            process works on the experiment.
        ArtifactError: A file cannot be written.
    """
    make_folder(experiment.layout.folds(experiment.name))  # DVC expects it, even if it stays empty
    seconds_file = experiment.layout.seconds(experiment.name)
    seconds = read_seconds(seconds_file)
    jobs = [_adopted(experiment, job, seconds) for job in _jobs(experiment)]
    for job in jobs:
        remove_leftovers(job.file.path)
    write_seconds(seconds_file, seconds)
    stacks = (
        [stack for stack in _stacks(experiment, jobs) if any(map(_must_train, stack))]
        if any(map(_must_train, jobs))
        else []
    )
    # what takes longest starts first, so that all end together
    stacks.sort(key=_cost, reverse=True)
    missing = sum(_must_train(job) for stack in stacks for job in stack)
    kept = len(jobs) - missing
    if kept:
        console.print(f"{experiment.name}: {kept} of {len(jobs)} models are kept")
    if not missing:
        return 0
    shared = _Shared(
        experiment.spec.model,
        training_plan(experiment.spec.training, experiment.spec.mitigations),
        experiment.data,
        experiment.spec.scoring.epochs,
    )
    tasks = [[job.training_set for job in stack] for stack in stacks]
    names = [f"experiment {experiment.name}, {_named(stack)}" for stack in stacks]
    with (
        telling_kept(experiment.name, lambda: _kept(experiment, jobs)),
        progress(f"{experiment.name}: models trained", missing) as advance,
        closing(executor.run(_train, shared, tasks, names)) as outcomes,
    ):
        for position, (outcome, spent) in outcomes:
            _write(experiment, stacks[position], outcome)
            each = spent / len(stacks[position])
            seconds |= {job.file.path.stem: each for job in stacks[position]}
            write_seconds(seconds_file, seconds)
            advance(sum(map(_must_train, stacks[position])))
    return missing


def require_contract(experiment: Experiment) -> None:
    """See that a model of the user's own offers what it must.

    Raises:
        InputError: It does not; the message says what is missing.
    """
    spec = experiment.spec
    if isinstance(spec.model, CustomSpec):
        with one_thread():
            check_contract(
                spec.model,
                _tried(experiment),
                spec.mitigations,
                leave_one_out=experiment.design.closed_form,
            )


def _tried(experiment: Experiment) -> torch.Tensor:
    rows = np.array(experiment.data.scored[np.arange(min(TRIED, len(experiment.data)))])
    return torch.from_numpy(rows).to(default_device(), torch.float32)


@dataclass(frozen=True)
class _Job:
    what: str
    block: int | None
    """Which models belong together: a repeat; None for the full model."""
    file: ModelFile
    training_set: TrainingSet
    problem: str | None
    """Why its file does not hold; None where it does."""
    inode: int | None
    """Which file lay in its place at the start."""


def _must_train(job: _Job) -> bool:
    return job.problem is not None


def _cost(stack: Sequence[_Job]) -> int:
    """Grows with the time that training a stack takes: observations of one epoch, over models."""
    return sum(len(job.training_set.members) for job in stack)


def _named(stack: Sequence[_Job]) -> str:
    ends = dict.fromkeys((stack[0].what, stack[-1].what))
    return " to ".join(ends)


def _jobs(experiment: Experiment) -> list[_Job]:
    seed = experiment.spec.seed
    jobs = [
        _job(
            f"repeat {model.repeat}, fold {model.fold}",
            model.repeat,
            fold_file(experiment, model),
            TrainingSet(
                experiment.training_members(model.held_out),
                model.held_out,
                seed_sequence(seed, Stream.FOLD_MODEL, model.repeat, model.fold),
            ),
        )
        for model in experiment.fold_models()
    ]
    nothing: IndexArray = np.empty(0, np.int64)
    everything = experiment.training_members(nothing)
    full = TrainingSet(everything, nothing, seed_sequence(seed, Stream.FULL_MODEL))
    return [*jobs, _job("full model", None, full_model_file(experiment), full)]


def _job(what: str, block: int | None, file: ModelFile, training_set: TrainingSet) -> _Job:
    problem = file.problem() if file.path.exists() else "not trained yet"
    if problem is not None and file.path.exists():
        console.print(f"{problem}; it is trained anew", soft_wrap=True)
    return _Job(what, block, file, training_set, problem, _inode(file.path))


def _adopted(experiment: Experiment, job: _Job, seconds: dict[str, float]) -> _Job:
    """The job, done where another experiment has trained the same model."""
    if not _must_train(job):
        return job
    layout, file = experiment.layout, job.file.path
    folds = layout.folds(experiment.name)
    folder, pattern = (
        (folds.parent, f"*/{file.name}") if file.parent == folds else (file.parent, "*.safetensors")
    )
    found = job.file.adopt(folder, pattern)
    if found is None:
        return job
    other = found.parent.name if file.parent == folds else found.stem
    name, theirs = (file.stem, found.stem)
    measured = read_seconds(layout.seconds(other)).get(theirs)
    if measured is not None:
        seconds[name] = measured
    console.print(f"{experiment.name}: {job.what} is the same as of {other}", soft_wrap=True)
    return replace(job, problem=None)


def _stacks(experiment: Experiment, jobs: Sequence[_Job]) -> list[Sequence[_Job]]:
    """Cut each block's models into stacks, by the spec alone; the full model is its own."""
    require_contract(experiment)
    model = experiment.blank_model
    plan = training_plan(experiment.spec.training, experiment.spec.mitigations)
    alone = isinstance(model, Fitted) or plan.by_observation or _must_be_alone(experiment)
    parameters = sum(p.numel() for p in model.parameters())
    blocks = [list(block) for _, block in groupby(jobs, key=lambda job: job.block)]
    return [
        stack
        for block in blocks
        for stack in _cut(block, 1 if alone else stack_size(parameters, len(block)))
    ]


def _must_be_alone(experiment: Experiment) -> bool:
    """Whether a model of the user's own cannot be trained in a stack; says why."""
    model = experiment.spec.model
    if not isinstance(model, CustomSpec):
        return False
    with one_thread():
        reason = why_not_stacked(model, _tried(experiment))
    if reason is not None:
        console.print(
            f"{experiment.name}: models are trained one by one, not as a stack: {reason}",
            soft_wrap=True,
        )
    return reason is not None


def _cut(jobs: Sequence[_Job], size: int) -> list[Sequence[_Job]]:
    return [jobs[start : start + size] for start in range(0, len(jobs), size)]


@dataclass(frozen=True)
class _Shared:
    model: ModelSpec
    plan: TrainingPlan
    data: Prepared
    epochs: list[int]


Outcome: TypeAlias = list[Trained] | TrainingError | FitError


def _train(shared: _Shared, training_sets: list[TrainingSet]) -> tuple[Outcome, float]:
    """Train a stack; returns the models, or why there are none, and the CPU seconds it took."""
    start = time.process_time()
    outcome = _trained(shared, training_sets)
    return outcome, time.process_time() - start


def _trained(shared: _Shared, training_sets: list[TrainingSet]) -> Outcome:
    try:
        with one_thread(), errors_of(source_of(shared.model)):
            if _is_fitted(shared.model, shared.data.shape):
                return [
                    fit_model(shared.model, shared.data, one, shared.epochs)
                    for one in training_sets
                ]
            return train_stack(
                shared.model,
                shared.plan,
                shared.data,
                training_sets,
                shared.epochs,
                default_device(),
            )
    except (TrainingError, FitError) as error:
        return error


def _is_fitted(model: ModelSpec, shape: tuple[int, ...]) -> bool:
    return isinstance(build_model(model, shape), Fitted)


def _write(
    experiment: Experiment,
    stack: Sequence[_Job],
    outcome: Outcome,
) -> None:
    if isinstance(outcome, Exception):
        position = outcome.model if isinstance(outcome, TrainingError) else 0
        raise WorkError(f"experiment {experiment.name}, {stack[position].what}: {outcome}")
    for job, trained in zip(stack, outcome, strict=True):
        if _must_train(job):
            job.file.write(trained, job.training_set.held_out)


def _kept(experiment: Experiment, jobs: Sequence[_Job]) -> str:
    """How many files hold: those that did at the start, and those that others were replaced by."""
    count = sum(
        not _must_train(job) or _inode(job.file.path) not in (None, job.inode) for job in jobs
    )
    return (
        f"{count} of {len(jobs)} models are kept in {experiment.layout.folds(experiment.name)}; "
        "the next run trains the rest"
    )


def _inode(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None
