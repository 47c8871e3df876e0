"""From tables of log-likelihoods to the scores of an experiment."""

import json
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.experiments.experiment import Experiment
from memo.experiments.log_likelihoods import ScoredDensity
from memo.pipeline.privacy import privacy_facts
from memo.pipeline.released_density import (
    Released,
    background_log_likelihoods,
    released_scores,
)
from memo.scores.table import Scores

__all__ = ["score_experiment"]


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
    background = background_log_likelihoods(experiment, [d.held_out for d in densities])
    parts = []
    for epoch in experiment.spec.scoring.epochs:
        released, unreliable = _released_at(experiment, tables, block, epoch, background)
        parts.append(
            Scores.from_aggregate(
                experiment.data.observations, epoch, released.scores, unreliable
            ).table
        )
    facts = {"data": experiment.data_hash, "partitions": experiment.partitions_fingerprint()}
    numbers = {"weight": released.weight, "largest_bound": released.largest_bound}
    facts |= {name: repr(value) for name, value in numbers.items() if value is not None}
    facts |= privacy_facts(experiment)
    if experiment.spec.removal is not None:
        facts["removed"] = json.dumps(experiment.removed.tolist())
    return Scores(pl.concat(parts), facts)


def _released_at(
    experiment: Experiment,
    tables: Sequence[pl.DataFrame],
    block: NDArray[np.int64] | None,
    epoch: int,
    background: NDArray[np.float64] | None,
) -> tuple[Released, NDArray[np.int64]]:
    """Score what is released at an epoch; count the models whose log p is unreliable."""
    at_epoch = [table.filter(pl.col("epoch") == epoch) for table in tables]
    log_likelihood, std_error, held_out, unreliable = (
        np.stack([table[column].to_numpy() for table in at_epoch])
        for column in ("log_likelihood", "std_error", "held_out", "unreliable")
    )
    released = released_scores(experiment, log_likelihood, std_error, held_out, block, background)
    return released, unreliable.sum(0, dtype=np.int64)
