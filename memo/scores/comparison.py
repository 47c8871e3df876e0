"""Two experiments on the same observations: paired differences and their standard errors."""

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from memo.errors import WorkError
from memo.scores.aggregate import FloatArray, jackknife_std_error
from memo.scores.ranks import rank_correlation
from memo.scores.summaries import (
    STATISTICS,
    Estimate,
    Statistic,
    is_exact,
    jackknifed,
    mean_estimate,
    without_repeat,
)

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


def compare_scores(a: pl.DataFrame, b: pl.DataFrame, *, same_partitions: bool) -> Comparison:
    """Compare two experiments at one epoch each.

    Args:
        a: Scores of the first, one row for each observation.
        b: Scores of the second.
        same_partitions: Whether repeat l cut the observations alike in both, so that repeats are
            paired as well.

    Raises:
        ScoringError: The two do not speak of the same observations.
    """
    a, b = a.sort("index"), b.sort("index")
    if a.is_empty() or not a["id"].equals(b["id"]):
        raise ScoringError("the two experiments were scored on different observations")
    m_a, m_b = a["memorization"].to_numpy(), b["memorization"].to_numpy()
    held_out = (b["mean_log_likelihood_out"] - a["mean_log_likelihood_out"]).to_numpy()
    return Comparison(
        mean_memorization=mean_estimate(m_b - m_a),
        statistics={
            name: _difference(statistic, a, b, same_partitions=same_partitions)
            for name, statistic in STATISTICS.items()
        },
        held_out_log_likelihood=mean_estimate(held_out),
        rank_correlation=_rank_correlation(m_a, m_b),
        repeats=min(len(without_repeat(a)), len(without_repeat(b))),
    )


def _rank_correlation(a: FloatArray, b: FloatArray) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return rank_correlation(a, b)


def _difference(
    statistic: Statistic, a: pl.DataFrame, b: pl.DataFrame, *, same_partitions: bool
) -> Estimate:
    value = statistic(b["memorization"].to_numpy()) - statistic(a["memorization"].to_numpy())
    without = [without_repeat(side) for side in (a, b)]
    if same_partitions and len(without[0]) == len(without[1]) > 0:
        both = np.isfinite(without).all((0, 1))
        replicates = [np.array([statistic(row[both]) for row in rows]) for rows in without]
        if both.any():
            return Estimate(value, float(jackknife_std_error(replicates[1] - replicates[0])))
    errors = [
        0.0 if is_exact(side) else jackknifed(statistic, rows)
        for side, rows in zip((a, b), without, strict=True)
    ]
    return Estimate(value, None if None in errors else math.hypot(*filter(None, errors)))
