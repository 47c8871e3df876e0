"""From tables of log-likelihoods to the scores of an experiment."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import scipy
from numpy.typing import NDArray

from memo.experiments.experiment import Experiment
from memo.experiments.log_likelihoods import ScoredDensity
from memo.experiments.sampled.words import space_fact
from memo.mitigations.kinds import in_order
from memo.mitigations.mitigation import ScoredModels
from memo.mitigations.release import Densities, Release, released_scores
from memo.scores.aggregate import Aggregate, Method
from memo.scores.extrapolation import Extrapolations, Sizes, extrapolate, stored_extrapolations
from memo.scores.summaries import with_true_scores
from memo.scores.table import AT_N, TOGETHER_FACT, Scores
from memo.training.device import one_thread


def score_experiment(
    experiment: Experiment,
    densities: Sequence[ScoredDensity],
    tables: Sequence[pl.DataFrame],
    smaller: Sequence[pl.DataFrame] = (),
) -> Scores:
    """Score each observation at each scored epoch, under what the mitigations release.

    Args:
        experiment: What is scored.
        densities: All of `scored_densities`.
        tables: Their log-likelihoods, as `estimate_log_likelihoods` yields them.
        smaller: Log-likelihoods under each of `smaller_densities`, where the design has any.

    Returns:
        The scores; their facts name the data, the partitions, what mitigations promise or cost,
        and how scores are extrapolated.
    """
    blocks = [density.block for density in densities if density.block is not None]
    block = np.array(blocks) if blocks else None
    models = experiment.scored_models()
    steps = _release_steps(experiment, models)
    at_smaller = _scorer_of_smaller(experiment, smaller) if smaller else None
    parts = []
    found: Extrapolations = {}
    facts: dict[str, Any] = {}
    for epoch in experiment.spec.scoring.epochs:
        trained, unreliable = _at(epoch, tables, block, experiment.spec.scoring.aggregate)
        aggregate, facts = released_scores(steps, trained)
        part = Scores.from_aggregate(experiment.observations, epoch, aggregate, unreliable)
        if at_smaller is not None:
            found[epoch] = extrapolate(aggregate, at_smaller(epoch), _sizes(experiment))
            at_n = pl.Series(AT_N, found[epoch].scores(aggregate.memorization), nan_to_null=True)
            part = replace(part, table=part.table.with_columns(at_n))
        parts.append(part)
    for mitigation in experiment.spec.mitigations:
        facts |= mitigation.facts(models)
    sets = experiment.design.sets
    scores = Scores(
        pl.concat(part.table for part in parts),
        parts[0].facts
        | {"data": experiment.data_hash, "partitions": experiment.partitions_fingerprint()}
        | ({} if sets is None else {TOGETHER_FACT: sets.kind})
        | space_fact(experiment)
        | {name: json.dumps(fact) for name, fact in facts.items()}
        | (stored_extrapolations(found) if found else {}),
    )
    return with_true_scores(scores, experiment.spec.scoring.threshold)


def _release_steps(experiment: Experiment, models: ScoredModels) -> list[Release]:
    with one_thread():
        steps = [m.release(models) for m in in_order(experiment.spec.mitigations)]
    return [step for step in steps if step is not None]


def _scorer_of_smaller(
    experiment: Experiment, tables: Sequence[pl.DataFrame]
) -> Callable[[int], Aggregate]:
    """Scores at an epoch by models of smaller training sets, under what is released of those."""
    steps = _release_steps(experiment, experiment.scored_models(smaller=True))
    block = np.array([model.block for model in experiment.design.smaller_models])

    def at(epoch: int) -> Aggregate:
        trained, _ = _at(epoch, tables, block, experiment.spec.scoring.aggregate)
        return released_scores(steps, trained)[0]

    return at


def _sizes(experiment: Experiment) -> Sizes:
    fold_models = [model for model in experiment.models if model.fold is not None]
    smaller, larger = (
        float(scipy.stats.hmean([len(model.members) for model in models]))
        for models in (experiment.smaller_models, fold_models)
    )
    return Sizes(smaller, larger, len(experiment.full_model.members))


def _at(
    epoch: int,
    tables: Sequence[pl.DataFrame],
    block: NDArray[np.int64] | None,
    method: Method,
) -> tuple[Densities, NDArray[np.int64]]:
    """Log-likelihoods at an epoch; and how many models have an unreliable one, by observation."""
    at_epoch = [table.filter(pl.col("epoch") == epoch) for table in tables]
    log_likelihood, std_error, held_out, unreliable = (
        np.stack([table[column].to_numpy() for table in at_epoch])
        for column in ("log_likelihood", "std_error", "held_out", "unreliable")
    )
    trained = Densities(log_likelihood, std_error, held_out, block, method)
    return trained, unreliable.sum(0, dtype=np.int64)
