"""Two experiments on the same observations: paired differences and their standard errors."""

import math
from dataclasses import dataclass

import numpy as np

from memo.errors import WorkError
from memo.scores.aggregate import FloatArray, jackknife_std_error
from memo.scores.ranks import rank_correlation
from memo.scores.summaries import (
    STATISTICS,
    Estimate,
    Statistic,
    mean_estimate,
    statistic_error,
)
from memo.scores.table import Scores

__all__ = ["Comparison", "ScoringError", "compare_scores"]


class ScoringError(WorkError):
    """Scores cannot be compared; the message says why."""


@dataclass(frozen=True)
class Comparison:
    """How B differs from A: differences are B - A, in nats."""

    mean_memorization: Estimate
    """Paired over observations."""
    statistics: dict[str, Estimate]
    """Differences of each of `STATISTICS`, jackknifed over repeats."""
    held_out_log_likelihood: Estimate
    """Paired over observations; positive where B is the better density."""
    rank_correlation: float
    """Spearman's, of memorization: do both memorize the same observations?"""
    repeats: int
    """Of the one that has fewer: the statistics' errors have one degree of freedom less."""


def compare_scores(a: Scores, b: Scores, *, same_partitions: bool) -> Comparison:
    """Compare two experiments at one epoch each.

    Args:
        a: Scores of the first, one row for each observation.
        b: Scores of the second.
        same_partitions: True where block l leaves out models that held out the same observations
            in both, so that blocks are paired as well.

    Raises:
        ScoringError: The two do not speak of the same observations.
    """
    a, b = Scores(a.table.sort("index")), Scores(b.table.sort("index"))
    if not len(a) or not a.table["id"].equals(b.table["id"]):
        raise ScoringError("the two experiments were scored on different observations")
    held_out = [side.column("mean_log_likelihood_out") for side in (a, b)]
    return Comparison(
        mean_memorization=mean_estimate(b.memorization - a.memorization),
        statistics={
            name: _difference(statistic, a, b, same_partitions=same_partitions)
            for name, statistic in STATISTICS.items()
        },
        held_out_log_likelihood=mean_estimate(held_out[1] - held_out[0]),
        rank_correlation=_rank_correlation(a.memorization, b.memorization),
        repeats=min(a.blocks, b.blocks),
    )


def _rank_correlation(a: FloatArray, b: FloatArray) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return rank_correlation(a, b)


def _difference(statistic: Statistic, a: Scores, b: Scores, *, same_partitions: bool) -> Estimate:
    """The statistic of b minus that of a; its error is paired over blocks where they are alike."""
    value = statistic(b.memorization) - statistic(a.memorization)
    if same_partitions and a.blocks == b.blocks > 0:
        without = np.stack([a.without_block, b.without_block])
        known = np.isfinite(without).all((0, 1))
        if known.any():
            first, second = (np.array([statistic(row[known]) for row in rows]) for rows in without)
            return Estimate(value, float(jackknife_std_error(second - first)))
    errors = [statistic_error(statistic, side) for side in (a, b)]
    return Estimate(value, None if None in errors else math.hypot(*filter(None, errors)))
