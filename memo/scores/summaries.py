"""Headline statistics of an experiment's scores, each with its standard error."""

import json
from dataclasses import astuple, dataclass, replace

import numpy as np
import polars as pl

from memo.scores.aggregate import FloatArray, jackknife_std_error
from memo.scores.intervals import LEVEL, t_interval
from memo.scores.shrinkage import Posterior, posterior
from memo.scores.significance import significantly_positive
from memo.scores.statistics import STATISTICS, Statistic
from memo.scores.table import SHRUNK, STATISTICS_FACT, Scores


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error and 95% interval.

    None where one block gives no error, or no interval is known to hold; 0 and the number itself
    if exact.
    """

    value: float
    std_error: float | None
    low: float | None = None
    high: float | None = None


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
    above_threshold: Estimate
    """Share of observations whose true score is above `threshold`."""
    threshold: float
    """Nats."""
    significant: float | None
    """Share of observations whose memorization is significantly above zero, or simply above zero
    where scores are exact."""
    held_out_log_likelihood: Estimate
    train_log_likelihood: Estimate
    gap: Estimate
    """Mean log p of training observations minus that of held-out ones: overfitting."""
    aggregate: str = "mean-log"
    """The aggregation of log densities under many models into scores."""
    noisy: bool = False
    """True where more than half of the variance of scores over observations is noise."""


def summarize(scores: Scores | pl.DataFrame, epoch: int | None = None) -> Summary:
    """Headline statistics at an epoch (the last one scored when None).

    The mean of memorization has a standard error by the jackknife over blocks, and an interval by
    Student's t: they say how much another set of trainings on the same data would differ. All other
    statistics are those of true scores (`memo.scores.shrinkage`). Errors of mean log-likelihoods
    are over observations: how much another sample of data would differ.

    Args:
        scores: Scores, or a table with their columns.
        epoch: A scored epoch.

    Raises:
        InputError: The epoch was not scored.

    Example:
        Two observations and two models, each trained on one of them: M = (5 - 1, 2 - 1).

        >>> from memo.scores import memorization_scores
        >>> log_p, trained_on = np.array([[5.0, 1.0], [1.0, 2.0]]), np.eye(2) > 0
        >>> found = memorization_scores(log_p, 0 * log_p, trained_on, None, "mean-log")
        >>> names = pl.DataFrame({"index": [0, 1], "id": ["a", "b"], "label": ["u", "v"]})
        >>> scores = Scores.from_aggregate(names, 1, found, np.array([0, 0]))
        >>> summarize(scores).memorization["mean"]
        Estimate(value=2.5, std_error=0.0, low=2.5, high=2.5)
    """
    at = (scores if isinstance(scores, Scores) else Scores(scores)).at(epoch)
    statistics, above = statistics_at_epoch(at)
    within, without = at.column("mean_log_likelihood_in"), at.column("mean_log_likelihood_out")
    return Summary(
        epoch=at.last_epoch,
        observations=len(at),
        repeats=at.blocks,
        exact=at.exact,
        memorization=statistics,
        above_threshold=above,
        threshold=at.threshold,
        significant=_significant_share(at),
        held_out_log_likelihood=mean_estimate(without),
        train_log_likelihood=mean_estimate(within),
        gap=mean_estimate(within - without),
        aggregate=at.aggregate,
        noisy=_noisy(at),
    )


def quantile_curve(scores: Scores) -> pl.DataFrame:
    """Every statistic of memorization at every scored epoch.

    Returns:
        Columns `epoch`, `statistic`, `value`, and `std_error`, `low` and `high`, null where they
        are not known.

    Example:
        >>> columns = {"epoch": [1, 2], "memorization": [3.0, 4.0], "std_error": [0.0, 0.0]}
        >>> quantile_curve(Scores(pl.DataFrame(columns))).row(-1)
        (2, 'max', 4.0, 0.0, 4.0, 4.0)
    """
    rows = [
        (epoch, name, estimate.value, estimate.std_error, estimate.low, estimate.high)
        for epoch in scores.epochs
        for name, estimate in statistics_at_epoch(scores.at(epoch))[0].items()
    ]
    numbers = dict.fromkeys(("value", "std_error", "low", "high"), pl.Float64)
    columns = {"epoch": pl.Int64, "statistic": pl.String} | numbers
    return pl.DataFrame(rows, schema=columns, orient="row", infer_schema_length=None)


def with_true_scores(scores: Scores, threshold: float) -> Scores:
    """Scores with what they say of the true ones: columns `SHRUNK`, and statistics among the facts.

    Args:
        scores: At any number of epochs.
        threshold: Nats, of the column `above_threshold`.
    """
    parts, facts = [], scores.facts | {"threshold": str(threshold)}
    statistics = {}
    for epoch in scores.epochs:
        at = replace(scores.at(epoch), facts=facts)
        true = _true_scores(at)
        found, above = _estimates(at, true)
        statistics[epoch] = [{n: astuple(e) for n, e in found.items()}, astuple(above)]
        if true is not None:
            columns = (true.mean, *true.interval, true.exceeding(threshold))
            named = dict(zip(SHRUNK, columns, strict=True))
            at = replace(at, table=at.table.with_columns(**named))
        parts.append(at.table)
    return Scores(pl.concat(parts), facts | {STATISTICS_FACT: json.dumps(statistics)})


def jackknifed(statistic: Statistic, scores: Scores) -> Estimate:
    """A statistic of the scores as they stand, with its jackknife over blocks.

    Observations without replicates count with the value, and not with the error.
    """
    value = statistic(scores.memorization)
    if scores.exact:
        return Estimate(value, 0.0, value, value)
    without = scores.without_block[:, np.isfinite(scores.without_block).all(0)]
    if not without.size:
        return Estimate(value, None)
    error = float(jackknife_std_error(np.array([statistic(row) for row in without])))
    if not (statistic.linear and scores.by_mean_logs):
        return Estimate(value, error)
    return Estimate(value, error, *t_interval(value, error, scores.blocks - 1))


def statistics_at_epoch(scores: Scores) -> tuple[dict[str, Estimate], Estimate]:
    """Statistics at one epoch: those that are stored for these observations, or computed."""
    facts = scores.facts.get(STATISTICS_FACT)
    if facts is not None:
        found, above = json.loads(facts)[str(scores.last_epoch)]
        if set(found) == set(STATISTICS):
            return {name: Estimate(*found[name]) for name in STATISTICS}, Estimate(*above)
    return _estimates(scores, _true_scores(scores))


def mean_estimate(values: FloatArray) -> Estimate:
    """Mean over observations, with its standard error and its interval by Student's t."""
    count, value = len(values), float(values.mean())
    if count < 2:
        return Estimate(value, None)
    error = float(values.std(ddof=1) / np.sqrt(count))
    return Estimate(value, error, *t_interval(value, error, count - 1))


def _true_scores(scores: Scores) -> Posterior | None:
    """Draws of true scores at one epoch; None where scores have no errors, or none that hold."""
    errors = scores.column("std_error")
    if not scores.by_mean_logs or not np.isfinite(errors).any():
        return None
    if scores.exact:
        return Posterior(scores.memorization[None])
    if scores.blocks < 2:
        return None
    return posterior(scores.memorization, errors, scores.blocks)


def _estimates(scores: Scores, true: Posterior | None) -> tuple[dict[str, Estimate], Estimate]:
    """Each of `STATISTICS`, and the share above the threshold, at one epoch."""
    found = {
        name: jackknifed(statistic, scores)
        if statistic.linear or true is None or scores.exact
        else _of_draws(true.statistic(statistic))
        for name, statistic in STATISTICS.items()
    }
    if true is None:
        return found, Estimate(float((scores.memorization > scores.threshold).mean()), None)
    return found, _of_draws((true.draws > scores.threshold).mean(1))


def _of_draws(draws: FloatArray) -> Estimate:
    """Median, standard deviation and quantiles of draws."""
    low, value, high = np.quantile(draws, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
    return Estimate(float(value), float(draws.std()), float(low), float(high))


def _noisy(scores: Scores) -> bool:
    errors = scores.column("std_error")
    known = np.isfinite(errors)
    if not known.any():
        return False
    return bool(2 * np.square(errors[known]).mean() > scores.memorization[known].var())


def _significant_share(scores: Scores) -> float | None:
    """Share of observations above zero by more than chance; None where no error is known."""
    if scores.exact:
        return float((scores.memorization > 0).mean())
    known = Scores(scores.table.drop_nulls("std_error"))
    if not len(known) or not scores.blocks:
        return None
    found = significantly_positive(known.memorization, known.column("std_error"), scores.blocks)
    return float(found.sum() / len(scores))
