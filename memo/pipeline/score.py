"""score: trained models -> log-likelihoods under each, and one score for each observation."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.artifacts.files import ArtifactError, remove_leftovers, write_whole
from memo.artifacts.score_tables import write_scores_file
from memo.artifacts.tensors import Tensors, read_tensors, write_tensors
from memo.execution.protocol import Executor
from memo.experiments.density_illustration import (
    WeightsOf,
    illustrate,
    illustration_arrays,
    is_illustrated,
)
from memo.experiments.doubts import experiment_doubts, stored_doubts
from memo.experiments.experiment import ModelPlan
from memo.experiments.log_likelihoods import (
    ScoredDensity,
    estimate_log_likelihoods,
    scored_densities,
    smaller_densities,
)
from memo.experiments.scoring import score_experiment
from memo.pipeline.progress import Advance, console, progress, telling_kept
from memo.pipeline.stored_experiment import StoredExperiment, exclusive
from memo.scores.table import Scores
from memo.training.stack import Weights


@exclusive
def score(experiment: StoredExperiment, executor: Executor) -> Scores:
    """Estimate log p of every observation under every density of the design, and aggregate.

    Log-likelihoods whose fingerprint holds are read, not estimated again.

    Raises:
        ArtifactError: A model's file is missing, damaged, or from another spec.
        WorkError: There is no density without one of the observations.
    """
    of_design, smaller = scored_densities(experiment), smaller_densities(experiment)
    densities = [*of_design, *smaller]
    tables = {d.name: table for d in densities if (table := _found(experiment, d)) is not None}
    missing = [density for density in densities if density.name not in tables]

    def words_of_kept() -> str:
        # An interrupt may come between the writing of a file and the next line: files tell.
        kept = sum(d.name in tables or _holds(experiment, d) for d in densities)
        return (
            f"{kept} of {len(densities)} tables of log-likelihoods are kept in "
            f"{experiment.layout.log_likelihoods(experiment.name)}; the next run estimates the rest"
        )

    def weights_of(model: ModelPlan) -> dict[int, Weights]:
        try:
            return experiment.read_weights(model)
        except ArtifactError as error:
            raise ArtifactError(f"{error}; run: memo train {experiment.name}") from None

    if missing:
        with (
            telling_kept(experiment.name, words_of_kept),
            progress(f"{experiment.name}: densities scored", len(missing)) as advance,
            closing(
                estimate_log_likelihoods(
                    experiment, missing, _telling(weights_of, advance), executor
                )
            ) as found,
        ):
            for density, table in found:
                experiment.write_log_likelihoods(density, table)
                tables[density.name] = table
                advance(1)
    in_order = [tables[density.name] for density in of_design]
    at_smaller = [tables[density.name] for density in smaller]
    scores = score_experiment(experiment, of_design, in_order, at_smaller)
    doubts = experiment_doubts(experiment, scores, in_order, _losses(experiment))
    scores = replace(scores, facts=scores.facts | stored_doubts(doubts))
    file = experiment.layout.scores(experiment.name)
    write_scores_file(file, scores)
    named = {"scores": hashlib.sha256(file.read_bytes()).hexdigest()}
    write_whole(experiment.layout.compared(experiment.name), json.dumps(named).encode() + b"\n")
    _illustrate(experiment, scores, weights_of)
    return scores


def _losses(experiment: StoredExperiment) -> list[NDArray[np.float64]]:
    """Losses of the models; none where a model is gone that log-likelihoods are kept of."""
    try:
        return experiment.fold_losses()
    except ArtifactError as error:
        words = f"{experiment.name}: whether models have learned is not looked at: {error}"
        console.print(words, soft_wrap=True)
        return []


def _telling(weights_of: WeightsOf, advance: Advance) -> WeightsOf:
    """Weights that are about to be used: their density is under way."""

    def told(model: ModelPlan) -> Mapping[int, Weights]:
        advance.begin(1)
        return weights_of(model)

    return told


def _holds(experiment: StoredExperiment, density: ScoredDensity) -> bool:
    try:
        experiment.read_log_likelihoods(density)
    except ArtifactError:
        return False
    return True


def _found(experiment: StoredExperiment, density: ScoredDensity) -> pl.DataFrame | None:
    """Read a table that holds; else copy that of another experiment with the same fold model.

    Headers of model files say which experiments do, so that few tables are read.
    """
    file = experiment.table_file(density)
    remove_leftovers(file)
    with suppress(ArtifactError):
        return experiment.read_log_likelihoods(density)
    if density.block is None:
        return None
    own = experiment.model_file(density.model)
    for other in sorted(file.parent.parent.glob(f"*/{file.name}")):
        if other == file or not own.at(_model_beside(experiment, other)).names_this_model():
            continue
        with suppress(ArtifactError):
            table = experiment.read_log_likelihoods(density, other)
            write_whole(file, other.read_bytes())
            return table
    return None


def _model_beside(experiment: StoredExperiment, table: Path) -> Path:
    """The file of the fold model whose log-likelihoods another experiment's table has."""
    return experiment.layout.model(table.parent.name, table.stem)


def _illustrate(experiment: StoredExperiment, scores: Scores, weights_of: WeightsOf) -> None:
    """Write densities with and without the most memorized observation, where they can be drawn.

    A file that holds is kept: the models of the figure need not be trained again.
    """
    file = experiment.layout.illustration(experiment.name)
    fingerprint = experiment.illustration_fingerprint()
    if is_illustrated(experiment):
        with suppress(ArtifactError):
            if read_tensors(file).facts.get("fingerprint") == fingerprint:
                return
    arrays, facts = illustration_arrays(illustrate(experiment, scores, weights_of))
    write_tensors(file, Tensors(arrays, facts | {"fingerprint": fingerprint}))
