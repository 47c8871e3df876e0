"""Replicas of an experiment's records: what its report and its metrics say of them."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.datasets.pictures import sampled_pictures
from memo.experiments.sample_relation import NOT_SAMPLED, space_in_words
from memo.experiments.sampled.sampled_models import SampledModels
from memo.report.audit.replica_data import ReplicaData
from memo.report.audit.replica_section import rule_in_words
from memo.samples.extraction import Replication, replication
from memo.scores.relation import Interval, relate
from memo.scores.summaries import Estimate
from memo.scores.table import Scores


def replicas_by_folds(models: SampledModels, table: pl.DataFrame) -> Replication | str:
    """Compare replicas in and out of training of fold models; or say what to set.

    Args:
        models: Whose samples they are.
        table: Results of tests on samples, columns as in `memo.samples.registered.SCHEMA`.
    """
    if not len(table):
        return NOT_SAMPLED
    found = replication(
        table.sort("index")["replicated_by"],
        [model.members for model in models.folds],
        [model.held_out for model in models.folds],
    )
    return models.no_null if found is None else found


def replica_data(
    models: SampledModels, table: pl.DataFrame, samples: NDArray[Any] | None, scores: Scores
) -> ReplicaData | str:
    """Gather what the report shows of replicas; or say why there is nothing.

    Args:
        models: Whose samples they are.
        table: Results of tests on samples, columns as in `memo.samples.registered.SCHEMA`.
        samples: Of `models.source`, in the space of its values; None where it cannot be sampled
            from.
        scores: Of the same observations, or some of them, which alone are shown.
    """
    if samples is None:
        return NOT_SAMPLED
    rule = models.spec.replica
    data = ReplicaData(
        samples=len(samples),
        source=models.source,
        space=space_in_words(models),
        rule=rule_in_words(rule.kind, rule.below),
        table=table.join(scores.last.table, on="index", how="semi", maintain_order="left"),
        correlation=_correlation(table, scores),
        by_folds=replicas_by_folds(models, table),
    )
    shown = samples[data.nearest["replica_sample"].to_numpy()]
    pictures = sampled_pictures(models.data, shown)
    return ReplicaData(**{**vars(data), "pictures": pictures})


def replica_metrics(data: ReplicaData | str) -> dict[str, Any]:
    """Replicas as plain JSON; shares between 0 and 1, with 95% intervals."""
    if isinstance(data, str):
        return {"extraction": {"reason": data}}
    metrics = {
        "samples": data.samples,
        "records": len(data.table),
        "replicas": data.found,
        "rank_correlation": None if data.correlation is None else data.correlation.value,
        "rank_correlation_interval": None if data.correlation is None else _ends(data.correlation),
    }
    if isinstance(data.by_folds, str):
        return {"extraction": metrics | {"reason": data.by_folds}}
    for side, counted in (("in", data.by_folds.inside), ("out", data.by_folds.outside)):
        metrics |= {
            f"replicated_{side}": counted.count,
            f"pairs_{side}": counted.of,
            f"rate_{side}": counted.rate.value,
            f"rate_{side}_interval": _ends(counted.rate),
        }
    difference = data.by_folds.difference
    metrics |= {"difference": difference.value, "difference_interval": _ends(difference)}
    return {"extraction": metrics | {"fold_models": data.by_folds.models}}


def _correlation(table: pl.DataFrame, scores: Scores) -> Interval | None:
    """Rank correlation of memorization with nearness to a replica."""
    joined = table.join(scores.last.table, on="index", maintain_order="left")
    ratio = joined["replica_ratio"].fill_null(np.inf).to_numpy()
    memorization = joined["memorization"].to_numpy()
    return relate(memorization, -ratio, np.zeros(len(ratio), bool)).rank_correlation


def _ends(found: Interval | Estimate) -> list[float] | None:
    return None if found.low is None or found.high is None else [found.low, found.high]
