"""check: are the log-likelihoods that an experiment's scores rest on right?"""

from contextlib import closing
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.datasets.rows import Rows
from memo.design.k_fold import IndexArray
from memo.design.seeds import Stream, seed_sequence, torch_seed
from memo.errors import InputError
from memo.execution.protocol import Executor
from memo.experiments.log_likelihoods import (
    ScoredDensity,
    observations_at,
    scored_densities,
)
from memo.likelihood.calibration import EstimatorCheck, compare_to_reference
from memo.likelihood.estimate import draws_of_its_own
from memo.likelihood.estimators.annealed import annealed_log_likelihood
from memo.likelihood.importance_weights import LogLikelihood, concatenate
from memo.models.protocols import is_latent_variable_model
from memo.models.state import loaded_model
from memo.pipeline.progress import progress
from memo.pipeline.stored_experiment import StoredExperiment
from memo.scores.table import scored_epoch
from memo.spec.model_specs import ModelSpec, source_of
from memo.spec.sampled_likelihood_specs import SampledLikelihoodSpec
from memo.spec.user_code import errors_of
from memo.training.device import default_device, one_thread
from memo.training.stack import Weights

MODELS = 4
"""Fold models, drawn at random, whose log-likelihoods are checked."""

TEMPERATURES = 400
CHAINS = 16
"""Annealed importance sampling: 16 x 400 x 5 evaluations of an observation and its gradient."""

TASK_ROWS = 25
"""Observations in one task, so that there are tasks for every worker."""


def check(
    experiment: StoredExperiment, executor: Executor, *, observations: int, epoch: int | None
) -> EstimatorCheck:
    """Compare what `score` wrote with annealed importance sampling, in training and held out.

    Args:
        experiment: One that was scored.
        executor: Where the reference is estimated.
        observations: How many are drawn at random in training, and as many held out, over models.
        epoch: A scored epoch (the last one when None).

    Raises:
        InputError: log p(x) of the model is exact, the epoch was not scored, or there are not
            enough observations.
        ArtifactError: Models or log-likelihoods are missing or damaged.
    """
    at = scored_epoch(experiment.spec.scoring.epochs, epoch)
    model = experiment.blank_model
    sampled = isinstance(experiment.spec.scoring.likelihood, SampledLikelihoodSpec)
    if sampled or not is_latent_variable_model(model):
        reason = (
            "estimated from samples, which no slower method is there for; compare a larger "
            "scoring.likelihood.max_samples"
            if sampled
            else "a mean of its own draws, which nothing else can be compared with"
            if draws_of_its_own(model)
            else "exact, so there is nothing to check"
        )
        raise InputError(
            f"experiments.{experiment.name}.model: log p(x) of {experiment.spec.model.kind!r} is "
            f"{reason}"
        )
    stream = np.random.Generator(
        np.random.PCG64(seed_sequence(experiment.spec.seed, Stream.CHECK, at))
    )
    densities = scored_densities(experiment)
    chosen = [densities[i] for i in stream.permutation(len(densities))[:MODELS]]
    samples = [
        _sample(experiment, density, -(-observations // len(chosen)), at, stream)
        for density in chosen
    ]
    tasks = [task for sample in samples for task in sample.tasks]
    shared = _Shared(experiment.spec.model, experiment.data.scored)
    names = [f"experiment {experiment.name}, check of {task.what}" for task in tasks]
    references: dict[int, LogLikelihood] = {}
    with (
        progress(
            f"{experiment.name}: observations checked", sum(len(t.rows) for t in tasks)
        ) as tell,
        closing(executor.run(_reference, shared, tasks, names)) as results,
    ):
        for position, reference in results:
            references[position] = reference
            tell(len(tasks[position].rows))
    return compare_to_reference(
        concatenate([sample.estimates for sample in samples]),
        concatenate([references[position] for position in range(len(tasks))]),
        np.concatenate([sample.in_training for sample in samples]),
    )


@dataclass(frozen=True)
class _Shared:
    model: ModelSpec
    scored: Rows


@dataclass(frozen=True)
class _Task:
    what: str
    weights: Weights
    rows: IndexArray
    seed: int


@dataclass(frozen=True)
class _Sample:
    """Observations of one model: what `score` found, and the tasks that find it anew."""

    estimates: LogLikelihood
    in_training: NDArray[np.bool_]
    tasks: list[_Task]


def _sample(
    experiment: StoredExperiment,
    density: ScoredDensity,
    observations: int,
    epoch: int,
    stream: np.random.Generator,
) -> _Sample:
    members = np.setdiff1d(np.arange(len(experiment.data)), density.held_out)
    if min(len(members), len(density.held_out)) < 2:
        raise InputError("a check needs at least two observations in training and two held out")
    parts = [
        stream.choice(part, min(observations, len(part)), replace=False)
        for part in (members, density.held_out)
    ]
    rows = np.concatenate(parts)
    weights = experiment.read_weights(density.model)[epoch]
    table = experiment.read_log_likelihoods(density).filter(pl.col("epoch") == epoch)
    seeds = seed_sequence(experiment.spec.seed, Stream.CHECK, epoch, *density.position)
    pieces = [rows[start : start + TASK_ROWS] for start in range(0, len(rows), TASK_ROWS)]
    return _Sample(
        _estimates(experiment, table[rows], rows),
        np.arange(len(rows)) < len(parts[0]),
        [
            _Task(density.model.words, weights, piece, torch_seed(seed))
            for piece, seed in zip(pieces, seeds.spawn(len(pieces)), strict=True)
        ],
    )


def _estimates(
    experiment: StoredExperiment, table: pl.DataFrame, rows: IndexArray
) -> LogLikelihood:
    """Estimates that `score` wrote, in the space of the values that the model sees."""
    diagnostics = ("std_error", "effective_sample_size", "samples", "pareto_k")
    return LogLikelihood(
        experiment.data.to_model(table["log_likelihood"].to_numpy(), rows),
        *(table[name].to_numpy() for name in diagnostics),
    )


def _reference(shared: _Shared, task: _Task) -> LogLikelihood:
    device = default_device()
    x = observations_at(shared.scored, task.rows, device)
    model = loaded_model(task.weights, shared.model, x.shape[1:]).to(device)
    assert is_latent_variable_model(model)
    with one_thread(), errors_of(source_of(shared.model), "what gives log p(x)"):
        return annealed_log_likelihood(model, x, TEMPERATURES, CHAINS, task.seed)
