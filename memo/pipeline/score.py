"""score: trained models -> log-likelihoods under each, and one score for each observation."""

import json
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import nn

from memo.artifacts.files import ArtifactError, remove_leftovers, write_whole
from memo.artifacts.score_tables import scores_table
from memo.artifacts.tables import SCORES, write_table
from memo.datasets.rows import Rows
from memo.design.k_fold import IndexArray
from memo.design.seeds import Stream, seed_sequence, torch_seed
from memo.errors import WorkError
from memo.execution.protocol import Executor, Lazy
from memo.likelihood.estimate import (
    draws_of_its_own,
    estimate_log_likelihood,
    left_out_log_likelihood,
)
from memo.likelihood.weights import LogLikelihood, concatenate
from memo.mitigations.kinds import in_order
from memo.mitigations.release import Densities, Release, released_scores
from memo.models.protocols import FitError
from memo.pipeline.densities import (
    ScoredDensity,
    log_likelihoods_problem,
    read_log_likelihoods,
    scored_densities,
    write_log_likelihoods,
)
from memo.pipeline.exclusive import exclusive
from memo.pipeline.experiment import Experiment
from memo.pipeline.progress import progress, telling_kept
from memo.pipeline.weights import loaded_model
from memo.spec.model_specs import ModelSpec, source_of
from memo.spec.scoring_specs import LikelihoodSpec
from memo.spec.user_code import errors_of
from memo.training.device import default_device, one_thread
from memo.training.stack import Weights

__all__ = ["score"]

CHUNK = 8192
"""About as many observations are in memory at a time."""


@exclusive
def score(experiment: Experiment, executor: Executor) -> pl.DataFrame:
    """Estimate log p of every observation under every density of the design, and aggregate.

    Log-likelihoods whose fingerprint holds are read, not estimated again.

    Raises:
        ArtifactError: A model's file is missing, damaged, or from another spec.
        WorkError: There is no density without one of the observations.
    """
    densities = scored_densities(experiment)
    for density in densities:
        remove_leftovers(density.table)
    missing = [density for density in densities if not _found(experiment, density)]
    common = bool(missing) and draws_of_its_own(experiment.blank_model)
    tasks = Lazy(partial(_task, experiment, common), missing)
    names = [f"experiment {experiment.name}, scores by {one.model.path}" for one in missing]
    shared = _Shared(
        experiment.spec.model, experiment.spec.scoring.likelihood, experiment.data.scored
    )
    if missing:
        with (
            telling_kept(experiment.name, lambda: _kept(experiment, densities)),
            progress(f"{experiment.name}: densities scored", len(tasks)) as advance,
            closing(executor.run(_estimate, shared, tasks, names)) as results,
        ):
            for position, estimates in results:
                _write(experiment, missing[position], estimates)
                advance(1)
    scores, released = _aggregate(experiment, densities)
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
    left_out: bool


def _task(experiment: Experiment, common: bool, density: ScoredDensity) -> _Task:
    """The task; with `common`, draws are the same for every density and epoch."""
    try:
        weights = density.model.read().weights
    except ArtifactError as error:
        raise ArtifactError(f"{error}; run: memo train {experiment.name}") from None
    seed, position = experiment.spec.seed, density.position
    positions = {epoch: () if common else (*position, epoch) for epoch in weights}
    seeds = {
        epoch: torch_seed(seed_sequence(seed, Stream.LIKELIHOOD, *position))
        for epoch, position in positions.items()
    }
    return _Task(density.model.path, weights, seeds, density.left_out)


def _estimate(shared: _Shared, task: _Task) -> dict[int, LogLikelihood] | FitError:
    device = default_device()
    everything = np.arange(len(shared.scored))
    estimates = {}
    for epoch, weights in task.weights.items():
        model = loaded_model(weights, shared.model, shared.scored.shape[1:], task.file).to(device)
        try:
            with one_thread(), errors_of(source_of(shared.model)):
                estimates[epoch] = (
                    left_out_log_likelihood(model, _values(shared.scored, everything, device))
                    if task.left_out
                    else _in_chunks(shared, model, task.seeds[epoch], device)
                )
        except FitError as error:
            return error
    return estimates


def _in_chunks(shared: _Shared, model: nn.Module, seed: int, device: torch.device) -> LogLikelihood:
    """The estimates, without all observations in memory at once."""
    chunks = np.array_split(np.arange(len(shared.scored)), -(-len(shared.scored) // CHUNK))
    seeds = np.random.SeedSequence(seed).spawn(len(chunks))
    return concatenate(
        [
            estimate_log_likelihood(
                model, _values(shared.scored, rows, device), shared.likelihood, torch_seed(own)
            )
            for rows, own in zip(chunks, seeds, strict=True)
        ]
    )


def _values(scored: Rows, rows: IndexArray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.array(scored[rows])).to(device, torch.float32)


def _found(experiment: Experiment, density: ScoredDensity) -> bool:
    """Whether the table holds; it is copied from another experiment that has the same fold model.

    Headers of model files say which experiments do, so that few tables are read.
    """
    if _holds(experiment, density):
        return True
    if density.block is None:
        return False
    for other in sorted(density.table.parent.parent.glob(f"*/{density.table.name}")):
        same = density.model.of(other.parent.name).fits()
        if same and other != density.table and _holds(experiment, replace(density, table=other)):
            write_whole(density.table, other.read_bytes())
            return True
    return False


def _kept(experiment: Experiment, densities: list[ScoredDensity]) -> str:
    count = sum(_holds(experiment, density) for density in densities)
    return (
        f"{count} of {len(densities)} tables of log-likelihoods are kept in "
        f"{experiment.layout.log_likelihoods(experiment.name)}; the next run estimates the rest"
    )


def _holds(experiment: Experiment, density: ScoredDensity) -> bool:
    return log_likelihoods_problem(experiment, density) is None


def _write(
    experiment: Experiment,
    density: ScoredDensity,
    estimates: dict[int, LogLikelihood] | FitError,
) -> None:
    if isinstance(estimates, FitError):
        raise WorkError(f"experiment {experiment.name}: {estimates}")
    index = np.arange(len(experiment.data))
    jacobian = experiment.data.log_jacobian
    table = pl.concat(
        pl.DataFrame(
            {
                "index": index,
                "epoch": np.full(len(index), epoch),
                "held_out": np.isin(index, density.held_out),
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
    write_log_likelihoods(experiment, density, table)


def _aggregate(
    experiment: Experiment, densities: list[ScoredDensity]
) -> tuple[pl.DataFrame, dict[str, str]]:
    """Scores at every epoch; and what mitigations promise or cost, at the last one."""
    tables = [read_log_likelihoods(experiment, density) for density in densities]
    blocks = [density.block for density in densities if density.block is not None]
    block = np.array(blocks) if blocks else None
    mitigations = experiment.spec.mitigations
    models = experiment.scored_models()
    with one_thread():
        steps = list(filter(None, (m.release(models) for m in in_order(mitigations))))
    found = [
        _scores_at(experiment, tables, block, epoch, steps)
        for epoch in experiment.spec.scoring.epochs
    ]
    facts: dict[str, Any] = {}
    for more in (found[-1][1], *(mitigation.facts(models) for mitigation in mitigations)):
        facts |= more
    as_text = {name: json.dumps(fact) for name, fact in facts.items()}
    return pl.concat(table for table, _ in found), as_text


def _scores_at(
    experiment: Experiment,
    tables: list[pl.DataFrame],
    block: NDArray[np.int64] | None,
    epoch: int,
    steps: list[Release],
) -> tuple[pl.DataFrame, dict[str, float]]:
    tables = [t.filter(pl.col("epoch") == epoch) for t in tables]
    log_likelihood, std_error, held_out, unreliable = (
        np.stack([table[column].to_numpy() for table in tables])
        for column in ("log_likelihood", "std_error", "held_out", "unreliable")
    )
    method = experiment.spec.scoring.aggregate
    trained = Densities(log_likelihood, std_error, held_out, block, method)
    scores, facts = released_scores(steps, trained)
    counts = unreliable.sum(0, dtype=np.int64)
    return scores_table(experiment.data.observations, epoch, scores, counts), facts
