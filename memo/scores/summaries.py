"""Headline statistics of an experiment's scores, each with its standard error."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from memo.scores.aggregate import FloatArray, jackknife_std_error
from memo.scores.significance import significantly_positive
from memo.scores.statistics import STATISTICS, Statistic
from memo.scores.table import Scores


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error; None where one block gives no jackknife, 0 if exact."""

    value: float
    std_error: float | None


@dataclass(frozen=True)
class Summary:
    """Headline numbers of an experiment at one epoch, over all observations; in nats."""

    epoch: int
    observations: int
    repeats: int
    """Jackknife blocks (in K-fold cross-validation the repeats) behind the standard errors; 0
    where there was one, or none was needed."""
    exact: bool
    """True where nothing about the scores is estimated or drawn at random."""
    memorization: dict[str, Estimate]
    """Estimate of each of `STATISTICS`."""
    significant: float | None
    """Share of observations whose memorization is significantly above zero, or simply above zero
    where scores are exact."""
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

    Example:
        Two observations and two models, each trained on one of them: M = (5 - 1, 2 - 1).

        >>> from memo.scores import memorization_scores
        >>> log_p, trained_on = np.array([[5.0, 1.0], [1.0, 2.0]]), np.eye(2) > 0
        >>> found = memorization_scores(log_p, 0 * log_p, trained_on, None, "paper")
        >>> names = pl.DataFrame({"index": [0, 1], "id": ["a", "b"], "label": ["u", "v"]})
        >>> scores = Scores.from_aggregate(names, 1, found, np.array([0, 0]))
        >>> summarize(scores).memorization["mean"]
        Estimate(value=2.5, std_error=0.0)
    """
    at = (scores if isinstance(scores, Scores) else Scores(scores)).at(epoch)
    within, without = at.column("mean_log_likelihood_in"), at.column("mean_log_likelihood_out")
    return Summary(
        epoch=at.last_epoch,
        observations=len(at),
        repeats=at.blocks,
        exact=at.exact,
        memorization=_statistics(at),
        significant=_significant_share(at),
        held_out_log_likelihood=mean_estimate(without),
        train_log_likelihood=mean_estimate(within),
        gap=mean_estimate(within - without),
    )


def quantile_curve(scores: Scores) -> pl.DataFrame:
    """Every statistic of memorization at every scored epoch.

    Returns:
        Columns `epoch`, `statistic`, `value`, `std_error` (null where there was one block).

    Example:
        >>> columns = {"epoch": [1, 2], "memorization": [3.0, 4.0], "std_error": [0.0, 0.0]}
        >>> quantile_curve(Scores(pl.DataFrame(columns))).row(-1)
        (2, 'max', 4.0, 0.0)
    """
    rows = [
        (epoch, name, estimate.value, estimate.std_error)
        for epoch in scores.epochs
        for name, estimate in _statistics(scores.at(epoch)).items()
    ]
    columns = ["epoch", "statistic", "value", "std_error"]
    curve = pl.DataFrame(rows, schema=columns, orient="row", infer_schema_length=None)
    return curve.cast({"std_error": pl.Float64})


def statistic_error(statistic: Statistic, scores: Scores) -> float | None:
    """Jackknife standard error of a statistic, over the observations that have replicates.

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


def _statistics(scores: Scores) -> dict[str, Estimate]:
    return {
        name: Estimate(statistic(scores.memorization), statistic_error(statistic, scores))
        for name, statistic in STATISTICS.items()
    }


def _significant_share(scores: Scores) -> float | None:
    """Share of observations above zero by more than chance; None where no error is known."""
    if scores.exact:
        return float((scores.memorization > 0).mean())
    known = Scores(scores.table.drop_nulls("std_error"))
    if not len(known) or not scores.blocks:
        return None
    found = significantly_positive(known.memorization, known.column("std_error"), scores.blocks)
    return float(found.sum() / len(scores))
