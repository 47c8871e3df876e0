"""From tables of log-likelihoods to the scores of an experiment."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.experiments.experiment import Experiment
from memo.experiments.log_likelihoods import ScoredDensity
from memo.mitigations.kinds import in_order
from memo.mitigations.release import Densities, released_scores
from memo.scores.aggregate import Method
from memo.scores.summaries import with_true_scores
from memo.scores.table import TOGETHER_FACT, Scores
from memo.training.device import one_thread


def score_experiment(
    experiment: Experiment, densities: Sequence[ScoredDensity], tables: Sequence[pl.DataFrame]
) -> Scores:
    """Score each observation at each scored epoch, under what the mitigations release.

    Args:
        experiment: What is scored.
        densities: All of `scored_densities`.
        tables: Their log-likelihoods, as `estimate_log_likelihoods` yields them.

    Returns:
        The scores; their facts name the data, the partitions, and what mitigations promise or cost.
    """
    blocks = [density.block for density in densities if density.block is not None]
    block = np.array(blocks) if blocks else None
    models = experiment.scored_models()
    with one_thread():
        steps = [m.release(models) for m in in_order(experiment.spec.mitigations)]
    parts = []
    facts: dict[str, Any] = {}
    for epoch in experiment.spec.scoring.epochs:
        trained, unreliable = _at(epoch, tables, block, experiment.spec.scoring.aggregate)
        aggregate, facts = released_scores([step for step in steps if step is not None], trained)
        parts.append(Scores.from_aggregate(experiment.observations, epoch, aggregate, unreliable))
    for mitigation in experiment.spec.mitigations:
        facts |= mitigation.facts(models)
    sets = experiment.design.sets
    scores = Scores(
        pl.concat(part.table for part in parts),
        parts[0].facts
        | {"data": experiment.data_hash, "partitions": experiment.partitions_fingerprint()}
        | ({} if sets is None else {TOGETHER_FACT: sets.kind})
        | {name: json.dumps(fact) for name, fact in facts.items()},
    )
    return with_true_scores(scores, experiment.spec.scoring.threshold)


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
