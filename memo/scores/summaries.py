"""Statistics of an experiment's scores, each with its standard error."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from memo.errors import InputError
from memo.scores.aggregate import FloatArray, jackknife_std_error
from memo.scores.significance import significantly_positive

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


def scored_epoch(scored: Iterable[int], epoch: int | None) -> int:
    """The epoch, or the last one scored for None.

    Raises:
        InputError: It was not scored.
    """
    known = sorted(scored)
    if epoch is not None and epoch not in known:
        words = ", ".join(map(str, known))
        raise InputError(f"epoch {epoch} was not scored; scored are {words}")
    return epoch if epoch is not None else known[-1]


def summarize(scores: pl.DataFrame, epoch: int | None = None) -> Summary:
    """Headline statistics at an epoch (the last one scored when None).

    Standard errors of statistics of memorization are jackknifed over repeats: they say how much
    another set of trainings on the same data would differ. Those of mean log-likelihoods are over
    observations: how much another sample of data would differ.

    Args:
        scores: A table of the scores schema.
        epoch: A scored epoch.

    Raises:
        InputError: It was not scored.
    """
    at = scores.filter(pl.col("epoch") == scored_epoch(scores["epoch"].unique(), epoch))
    memorization = at["memorization"].to_numpy()
    without = without_repeat(at)
    exact = is_exact(at)
    gain = (at["mean_log_likelihood_in"] - at["mean_log_likelihood_out"]).to_numpy()
    return Summary(
        epoch=int(at["epoch"][0]),
        observations=len(at),
        repeats=len(without),
        exact=exact,
        memorization={
            name: Estimate(
                statistic(memorization), 0.0 if exact else jackknifed(statistic, without)
            )
            for name, statistic in STATISTICS.items()
        },
        significant=float((memorization > 0).mean())
        if exact
        else _significant_share(at, len(without)),
        held_out_log_likelihood=mean_estimate(at["mean_log_likelihood_out"].to_numpy()),
        train_log_likelihood=mean_estimate(at["mean_log_likelihood_in"].to_numpy()),
        gap=mean_estimate(gain),
    )


def is_exact(scores: pl.DataFrame) -> bool:
    """Whether every score is known to have no error."""
    return bool((scores["std_error"].fill_null(np.inf) == 0).all())


def without_repeat(scores: pl.DataFrame) -> FloatArray:
    """Scores recomputed without each repeat, (L, n), NaN for observations that do not have them.

    (0, n) where there was one repeat.
    """
    replicates = scores["memorization_without_repeat"]
    length = int(replicates.list.len()[0])
    return replicates.explode(empty_as_null=False).to_numpy().reshape(len(scores), length).T


def jackknifed(statistic: Statistic, without: FloatArray) -> float | None:
    """Jackknife standard error of a statistic of the scores; None where there is no replicate.

    It is that over the observations which have replicates.
    """
    without = without[:, np.isfinite(without).all(0)]
    if not without.size:
        return None
    replicates = np.array([statistic(row) for row in without])
    return float(jackknife_std_error(replicates))


def mean_estimate(values: FloatArray) -> Estimate:
    """Mean over observations and its standard error."""
    count = len(values)
    error = float(values.std(ddof=1) / np.sqrt(count)) if count > 1 else None
    return Estimate(float(values.mean()), error)


def quantile_curve(scores: pl.DataFrame) -> pl.DataFrame:
    """Every statistic of memorization at every scored epoch.

    Returns:
        Columns `epoch`, `statistic`, `value`, `std_error` (null where there was one repeat).
    """
    rows = [
        (epoch, name, estimate.value, estimate.std_error)
        for epoch in scores["epoch"].unique().sort()
        for name, estimate in summarize(scores, epoch).memorization.items()
    ]
    schema = {
        "epoch": pl.Int64,
        "statistic": pl.String,
        "value": pl.Float64,
        "std_error": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _significant_share(scores: pl.DataFrame, repeats: int) -> float | None:
    if not repeats:
        return None
    known = scores.drop_nulls("std_error")
    if known.is_empty():
        return None
    found = significantly_positive(
        known["memorization"].to_numpy(), known["std_error"].to_numpy(), repeats
    )
    return float(found.sum() / len(scores))
