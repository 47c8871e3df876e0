"""Statistics of an experiment's scores, each with its standard error."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from memo.scores.aggregate import FloatArray, jackknife_std_error
from memo.scores.significance import significantly_positive
from memo.scores.table import Scores

__all__ = ["STATISTICS", "Estimate", "Summary", "quantile_curve", "summarize"]


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error; None where one block gives no jackknife, 0 if exact."""

    value: float
    std_error: float | None


Statistic = Callable[[FloatArray], float]

STATISTICS: dict[str, Statistic] = {
    "mean": lambda m: float(np.mean(m)),
    "q50": lambda m: float(np.quantile(m, 0.5)),
    "q95": lambda m: float(np.quantile(m, 0.95)),
    "q99.9": lambda m: float(np.quantile(m, 0.999)),
    "max": lambda m: float(np.max(m)),
}
"""Statistics of memorization over observations, by the names that users see."""


@dataclass(frozen=True)
class Summary:
    """What an experiment shows at one epoch; nats, over all observations."""

    epoch: int
    observations: int
    repeats: int
    """Jackknife blocks, as repeats are, that the standard errors come from; 0 where there was one,
    or none was needed."""
    exact: bool
    """Whether nothing about the scores is estimated or drawn at random."""
    memorization: dict[str, Estimate]
    """Each of `STATISTICS`."""
    significant: float | None
    """Share of observations whose memorization is significantly above zero: all that are above it
    if the scores are exact."""
    held_out_log_likelihood: Estimate
    train_log_likelihood: Estimate
    gap: Estimate
    """Mean log p of training observations minus that of held-out ones: overfitting."""


def summarize(scores: Scores | pl.DataFrame, epoch: int | None = None) -> Summary:
    """Headline statistics at an epoch (the last one scored when None).

    Standard errors of statistics of memorization are jackknifed over blocks: they say how much
    another set of trainings on the same data would differ. Those of mean log-likelihoods are over
    observations: how much another sample of data would differ.

    Args:
        scores: Scores, or a table with their columns.
        epoch: A scored epoch.

    Raises:
        InputError: The epoch was not scored.
    """
    at = (scores if isinstance(scores, Scores) else Scores(scores)).at(epoch)
    within, without = at.column("mean_log_likelihood_in"), at.column("mean_log_likelihood_out")
    return Summary(
        epoch=at.last_epoch,
        observations=len(at),
        repeats=at.blocks,
        exact=at.exact,
        memorization={
            name: Estimate(statistic(at.memorization), statistic_error(statistic, at))
            for name, statistic in STATISTICS.items()
        },
        significant=_significant_share(at),
        held_out_log_likelihood=mean_estimate(without),
        train_log_likelihood=mean_estimate(within),
        gap=mean_estimate(within - without),
    )


def statistic_error(statistic: Statistic, scores: Scores) -> float | None:
    """Jackknife standard error of a statistic of the scores, over observations with replicates.

    Returns:
        0 where scores are exact, None where no observation has replicates.
    """
    if scores.exact:
        return 0.0
    without = scores.without_block[:, np.isfinite(scores.without_block).all(0)]
    if not without.size:
        return None
    return float(jackknife_std_error(np.array([statistic(row) for row in without])))


def mean_estimate(values: FloatArray) -> Estimate:
    """Mean over observations and its standard error."""
    count = len(values)
    error = float(values.std(ddof=1) / np.sqrt(count)) if count > 1 else None
    return Estimate(float(values.mean()), error)


def quantile_curve(scores: Scores) -> pl.DataFrame:
    """Every statistic of memorization at every scored epoch.

    Returns:
        Columns `epoch`, `statistic`, `value`, `std_error` (null where there was one block).
    """
    rows = [
        (epoch, name, estimate.value, estimate.std_error)
        for epoch in scores.epochs
        for name, estimate in summarize(scores, epoch).memorization.items()
    ]
    schema = {
        "epoch": pl.Int64,
        "statistic": pl.String,
        "value": pl.Float64,
        "std_error": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _significant_share(scores: Scores) -> float | None:
    """Share of the observations above zero by more than chance; None where errors are unknown."""
    if scores.exact:
        return float((scores.memorization > 0).mean())
    known = Scores(scores.table.drop_nulls("std_error"))
    if not len(known) or not scores.blocks:
        return None
    found = significantly_positive(known.memorization, known.column("std_error"), scores.blocks)
    return float(found.sum() / len(scores))
