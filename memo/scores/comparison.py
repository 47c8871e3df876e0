"""Differences between two experiments on the same observations, with their standard errors."""

import math
from dataclasses import dataclass, replace

import numpy as np
import scipy

from memo.errors import WorkError
from memo.scores.aggregate import FloatArray, jackknife_std_error
from memo.scores.intervals import t_interval
from memo.scores.statistics import STATISTICS
from memo.scores.summaries import Estimate, mean_estimate, statistics_at_epoch
from memo.scores.table import Scores


class ScoringError(WorkError):
    """Scores cannot be compared; the message says why."""


@dataclass(frozen=True)
class Comparison:
    """Differences of an experiment B from an experiment A, B - A, in nats."""

    mean_memorization: Estimate
    """Error by pairs of observations."""
    statistics: dict[str, Estimate]
    """Differences of each of `STATISTICS`, jackknifed over blocks."""
    held_out_log_likelihood: Estimate
    """Error by pairs of observations; positive where B is the better density."""
    rank_correlation: float
    """Spearman's correlation of both memorizations: 1 where both memorize the same observations;
    NaN where one is the same for all."""
    repeats: int
    """Blocks of the experiment that has fewer: the statistics' errors have one degree of freedom
    less."""


def compare_scores(a: Scores, b: Scores, *, same_partitions: bool) -> Comparison:
    """Compare two experiments at one epoch each.

    Args:
        a: Scores of the first, one row for each observation.
        b: Scores of the second.
        same_partitions: True where block l leaves out models that held out the same observations
            in both, so that blocks are paired as well.

    Raises:
        ScoringError: The two do not speak of the same observations.

    Example:
        A second model that is a better density by one nat everywhere and memorizes nothing more.

        >>> import polars as pl
        >>> m, out = np.array([1.0, 3.0]), np.array([-5.0, -7.0])
        >>> def scores(log_p_out):
        ...     columns = {"index": [0, 1], "id": ["a", "b"], "memorization": m}
        ...     columns |= {"mean_log_likelihood_out": log_p_out, "std_error": [0.0, 0.0]}
        ...     return Scores(pl.DataFrame(columns | {"memorization_without_repeat": [[], []]}))
        >>> found = compare_scores(scores(out), scores(out + 1), same_partitions=True)
        >>> found.held_out_log_likelihood.value, found.statistics["max"].value
        (1.0, 0.0)
    """
    a, b = (replace(side, table=side.table.sort("index")) for side in (a, b))
    if not len(a) or not a.table["id"].equals(b.table["id"]):
        raise ScoringError("the two experiments were scored on different observations")
    if a.by_mean_logs != b.by_mean_logs:
        raise ScoringError(
            "the scores of one experiment are by `aggregate: paper` and those of the other by "
            "`mean-log`, which measure different things; score both alike"
        )
    first, second = (statistics_at_epoch(side)[0] for side in (a, b))
    held_out = [side.column("mean_log_likelihood_out") for side in (a, b)]
    return Comparison(
        mean_memorization=mean_estimate(b.memorization - a.memorization),
        statistics={
            name: _difference(
                name, a, b, (first[name], second[name]), same_partitions=same_partitions
            )
            for name in STATISTICS
        },
        held_out_log_likelihood=mean_estimate(held_out[1] - held_out[0]),
        rank_correlation=_rank_correlation(a.memorization, b.memorization),
        repeats=min(a.blocks, b.blocks),
    )


def _rank_correlation(a: FloatArray, b: FloatArray) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(scipy.stats.spearmanr(a, b).statistic)


def _difference(
    name: str, a: Scores, b: Scores, estimates: tuple[Estimate, Estimate], *, same_partitions: bool
) -> Estimate:
    """The statistic of b minus that of a; that of means is paired over blocks where they are alike.

    The interval of another difference comes from those of both sides (Zou & Donner 2008).
    """
    statistic = STATISTICS[name]
    first, second = estimates
    value = second.value - first.value
    if statistic.linear and same_partitions and a.blocks == b.blocks > 0:
        without = np.stack([a.without_block, b.without_block])
        known = np.isfinite(without).all((0, 1))
        if known.any():
            replicates = [np.array([statistic(row[known]) for row in rows]) for rows in without]
            error = float(jackknife_std_error(replicates[1] - replicates[0]))
            ends = t_interval(value, error, a.blocks - 1) if a.by_mean_logs else ()
            return Estimate(value, error, *ends)
    if first.std_error is None or second.std_error is None:
        return Estimate(value, None)
    error = math.hypot(first.std_error, second.std_error)
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return Estimate(value, error)
    below = math.hypot(second.value - second.low, first.high - first.value)
    above = math.hypot(second.high - second.value, first.value - first.low)
    return Estimate(value, error, value - below, value + above)
