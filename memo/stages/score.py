"""score: fold models -> log-likelihoods under each, and one score for each observation."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from memo.artifacts import (
    LOG_LIKELIHOODS,
    SCORES,
    ArtifactError,
    fingerprint,
    read_table,
    write_table,
    write_whole,
)
from memo.datasets import Rows
from memo.design import FoldModel, Stream, seed_sequence, torch_seed
from memo.execution import Executor
from memo.likelihood import LogLikelihood, estimate_log_likelihood
from memo.spec import LikelihoodSpec, ModelSpec
from memo.stages.experiment import Experiment
from memo.stages.model_files import loaded_model
from memo.stages.progress import progress
from memo.stages.released import Released, background_log_likelihoods, released_scores
from memo.stages.train import fold_file
from memo.training import Weights, default_device, one_thread

__all__ = ["SCORING_VERSION", "score"]

SCORING_VERSION = 3
"""Raised whenever the same weights would give other log-likelihoods."""


def score(experiment: Experiment, executor: Executor) -> pl.DataFrame:
    """Estimate log p of every observation under every fold model, and aggregate.

    Log-likelihoods whose fingerprint holds are read, not estimated again.

    Raises:
        ArtifactError: A fold file is missing, damaged, or from another spec.
    """
    models = experiment.fold_models()
    missing = [model for model in models if not _found(experiment, model)]
    tasks = [_task(experiment, model) for model in missing]
    shared = _Shared(
        experiment.spec.model, experiment.spec.scoring.likelihood, experiment.data.scored
    )
    if tasks:
        with (
            progress(f"{experiment.name}: models scored", len(tasks)) as advance,
            closing(executor.run(_estimate, shared, tasks)) as results,
        ):
            for position, estimates in results:
                _write(experiment, missing[position], estimates)
                advance(1)
    scores, released = _aggregate(experiment, models)
    facts = {
        "data": experiment.data_hash,
        "partitions": experiment.partitions_fingerprint(),
        **released,
    }
    write_table(experiment.layout.scores(experiment.name), scores, SCORES, facts)
    return scores


@dataclass(frozen=True)
class _Shared:
    model: ModelSpec
    likelihood: LikelihoodSpec
    scored: Rows


@dataclass(frozen=True)
class _Task:
    file: Path
    weights: dict[int, Weights]
    seeds: dict[int, int]


def _task(experiment: Experiment, model: FoldModel) -> _Task:
    file = fold_file(experiment, model)
    trained = file.read()
    position = (model.repeat, model.fold)
    seeds = {
        epoch: torch_seed(seed_sequence(experiment.spec.seed, Stream.LIKELIHOOD, *position, epoch))
        for epoch in trained.weights
    }
    return _Task(file.path, trained.weights, seeds)


def _estimate(shared: _Shared, task: _Task) -> dict[int, LogLikelihood]:
    device = default_device()
    x = torch.from_numpy(np.array(shared.scored[:])).to(device, torch.float32)
    estimates = {}
    for epoch, weights in task.weights.items():
        model = loaded_model(weights, shared.model, shared.scored.shape[1:], task.file).to(device)
        with one_thread():
            estimates[epoch] = estimate_log_likelihood(
                model, x, shared.likelihood, task.seeds[epoch]
            )
    return estimates


def _fingerprint(experiment: Experiment, model: FoldModel) -> str:
    return fingerprint(
        {
            "fold": experiment.fold_fingerprint(model),
            "epochs": experiment.spec.scoring.epochs,
            "likelihood": experiment.spec.scoring.likelihood.model_dump(),
            "version": SCORING_VERSION,
        }
    )


def _read(experiment: Experiment, model: FoldModel, file: Path) -> pl.DataFrame:
    table, facts = read_table(file, LOG_LIKELIHOODS)
    if facts.get("fingerprint") != _fingerprint(experiment, model):
        raise ArtifactError(f"{file}: belongs to another spec")
    rows = len(experiment.data) * len(experiment.spec.scoring.epochs)
    if len(table) != rows:
        raise ArtifactError(f"{file}: has {len(table)} rows, not {rows}")
    return table


def _found(experiment: Experiment, model: FoldModel) -> bool:
    """Whether the file holds; it is copied from another experiment that has the same model."""
    file = experiment.layout.fold_log_likelihoods(experiment.name, model.repeat, model.fold)
    if _holds(experiment, model, file):
        return True
    for other in sorted(file.parent.parent.glob(f"*/{file.name}")):
        if other != file and _holds(experiment, model, other):
            write_whole(file, other.read_bytes())
            return True
    return False


def _holds(experiment: Experiment, model: FoldModel, file: Path) -> bool:
    try:
        _read(experiment, model, file)
    except ArtifactError:
        return False
    return True


def _write(experiment: Experiment, model: FoldModel, estimates: dict[int, LogLikelihood]) -> None:
    index = np.arange(len(experiment.data))
    jacobian = experiment.data.log_jacobian
    table = pl.concat(
        pl.DataFrame(
            {
                "index": index,
                "epoch": np.full(len(index), epoch),
                "held_out": np.isin(index, model.held_out),
                "log_likelihood": estimate.value + (0.0 if jacobian is None else jacobian),
                "std_error": estimate.std_error,
                "effective_sample_size": estimate.effective_sample_size,
                "samples": estimate.samples,
                "pareto_k": estimate.pareto_k,
                "unreliable": estimate.unreliable(experiment.spec.scoring.likelihood.tolerance),
            }
        )
        for epoch, estimate in sorted(estimates.items())
    )
    file = experiment.layout.fold_log_likelihoods(experiment.name, model.repeat, model.fold)
    write_table(file, table, LOG_LIKELIHOODS, {"fingerprint": _fingerprint(experiment, model)})


def _aggregate(
    experiment: Experiment, models: list[FoldModel]
) -> tuple[pl.DataFrame, dict[str, str]]:
    """Scores at every epoch; and facts about the density that is released, at the last one."""
    layout, name = experiment.layout, experiment.name
    tables = [
        _read(experiment, model, layout.fold_log_likelihoods(name, model.repeat, model.fold))
        for model in models
    ]
    block = np.array([model.repeat for model in models])
    background = background_log_likelihoods(experiment, models)
    found = [
        (epoch, *_scores_at(experiment, tables, block, epoch, background))
        for epoch in experiment.spec.scoring.epochs
    ]
    last = found[-1][1]
    facts = {"weight": last.weight, "largest_bound": last.largest_bound}
    return (
        pl.concat(table for *_, table in found),
        {name: repr(value) for name, value in facts.items() if value is not None},
    )


def _scores_at(
    experiment: Experiment,
    tables: list[pl.DataFrame],
    block: NDArray[np.int64],
    epoch: int,
    background: NDArray[np.float64] | None,
) -> tuple[Released, pl.DataFrame]:
    tables = [t.filter(pl.col("epoch") == epoch) for t in tables]
    log_likelihood, std_error, held_out, unreliable = (
        np.stack([table[column].to_numpy() for table in tables])
        for column in ("log_likelihood", "std_error", "held_out", "unreliable")
    )
    released = released_scores(experiment, log_likelihood, std_error, held_out, block, background)
    result = released.scores
    table = experiment.data.observations.with_columns(
        pl.lit(epoch, pl.Int64).alias("epoch"),
        log_p_in=result.log_p_in,
        log_p_out=result.log_p_out,
        memorization=result.memorization,
        std_error=pl.Series(result.std_error, dtype=pl.Float64)
        if result.std_error is not None
        else pl.lit(None, pl.Float64),
        estimator_std_error=result.estimator_std_error,
        unreliable_models=unreliable.sum(0, dtype=np.int64),
        mean_log_likelihood_in=result.mean_log_likelihood_in,
        mean_log_likelihood_out=result.mean_log_likelihood_out,
        memorization_without_repeat=pl.Series(
            [row.tolist() for row in result.without_block.T], dtype=pl.List(pl.Float64)
        ),
    )
    return released, table
