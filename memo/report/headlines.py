"""A summary's numbers with what they mean, in the words that every page and table uses."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from memo.report.numbers import number
from memo.report.page_data import Headline
from memo.scores.aggregate import FloatArray
from memo.scores.comparison import Comparison
from memo.scores.statistics import STATISTICS
from memo.scores.summaries import Estimate, Summary

AGGREGATES = {
    "mean-log": "mean-log: mean of log p over models with the observation, minus that without it",
    "paper": "paper: log of the mean density over models with the observation, minus that without "
    "it (van den Burg & Williams 2021)",
}
"""Definitions of scores, by the name of the aggregate."""

LARGEST_FACTOR = 1e6
"""Factors above it are written as powers of ten."""
SHOWN = ("q50", "q95", "q99.9", "max")


@dataclass(frozen=True)
class ScaleRow:
    """One statistic of the scores, in several measures and in words."""

    name: str
    nats: str
    factor: str
    """Times as likely, by the observation's own presence in training."""
    bits: str | None
    """Bits per dimension; None where the number of dimensions is not known."""
    spreads: str | None
    """Times the spread of held-out log p; None where that is zero."""


@dataclass(frozen=True)
class ScoreScale:
    """Scores in several measures."""

    rows: list[ScaleRow]
    spread: str | None
    """Spread of held-out log p over observations, nats; None where it is zero."""
    dimensions: int | None


def summary_headlines(summary: Summary) -> list[Headline]:
    """Return the headline numbers of one experiment."""
    headlines = [
        _of_memorization(name, estimate, _meaning(name, estimate, summary))
        for name, estimate in summary.memorization.items()
    ]
    headlines.append(_above(summary))
    if summary.significant is not None:
        chance = " at a false discovery rate of 5%; it grows with the number of models"
        how = "; scores are exact" if summary.exact else chance
        meaning = f"Share of observations whose score is above zero{how}."
        share = 100 * summary.significant
        headlines.append(Headline("Significantly memorized", share, None, "%", meaning))
    return [
        *headlines,
        _in_nats(
            "Held-out log-likelihood",
            summary.held_out_log_likelihood,
            "Mean log density of observations under models that were not trained on them.",
        ),
        _in_nats(
            "Train/held-out gap",
            summary.gap,
            "Overfitting: how much higher the mean log-likelihood is in training than held out.",
        ),
    ]


def about_intervals(summary: Summary) -> str:
    """Say what the intervals of one experiment's numbers are of, or why there are none."""
    over_observations = "of likelihoods over observations: how much other data would differ."
    if summary.exact:
        return (
            "The memorization scores are exact: nothing about them is estimated. In brackets: 95% "
            f"intervals {over_observations}"
        )
    if summary.memorization["mean"].low is not None:
        return (
            "In brackets: 95% intervals, of memorization over repeats of the training: how much "
            f"other trainings would differ; {over_observations}{_of_noise(summary)}"
        )
    without = (
        "by `aggregate: paper`, the log of a mean density, which a few models decide"
        if summary.aggregate == "paper"
        else "from one repeat, or one block of models, which do not tell how much log p varies "
        "between models without an observation"
    )
    return (
        f"Scores {without}, have no intervals, and statistics are of the scores with their noise: "
        f"high quantiles are too high. In brackets: 95% intervals {over_observations}"
    )


def _of_noise(summary: Summary) -> str:
    if not summary.noisy:
        return ""
    return (
        " More than half of the variance of these scores is noise: in simulations of such data, "
        "intervals of the 99.9% quantile held the true value in 90% of studies, and those of the "
        "maximum in 85%. More repeats help."
    )


def difference_headlines(comparison: Comparison) -> list[Headline]:
    """Return how a second experiment differs from a first."""
    paired = "Paired over observations."
    repeats = "Over repeats of the training, or blocks of models."
    return [
        _in_nats("Mean memorization", comparison.mean_memorization, paired),
        *(
            _of_memorization(name, estimate, "Exact." if estimate.std_error == 0 else repeats)
            for name, estimate in comparison.statistics.items()
            if name != "mean"
        ),
        _in_nats(
            "Held-out log-likelihood",
            comparison.held_out_log_likelihood,
            f"{paired} Positive where the second is the better density.",
        ),
    ]


def metrics(summary: Summary) -> dict[str, Any]:
    """Return a summary as plain JSON; nats, shares between 0 and 1."""
    return {
        "epoch": summary.epoch,
        "observations": summary.observations,
        "repeats": summary.repeats,
        "exact": summary.exact,
        "aggregate": summary.aggregate,
        "memorization": {name: e.value for name, e in summary.memorization.items()},
        "memorization_std_error": {name: e.std_error for name, e in summary.memorization.items()},
        "memorization_interval": {name: _ends(e) for name, e in summary.memorization.items()},
        "threshold": summary.threshold,
        "above_threshold": summary.above_threshold.value,
        "above_threshold_interval": _ends(summary.above_threshold),
        "significant_share": summary.significant,
        "held_out_log_likelihood": summary.held_out_log_likelihood.value,
        "held_out_log_likelihood_std_error": summary.held_out_log_likelihood.std_error,
        "held_out_log_likelihood_interval": _ends(summary.held_out_log_likelihood),
        "train_log_likelihood": summary.train_log_likelihood.value,
        "gap": summary.gap.value,
        "gap_std_error": summary.gap.std_error,
        "gap_interval": _ends(summary.gap),
    }


def spread(log_p: FloatArray) -> float:
    """Half the distance from the 16% to the 84% quantile: of a normal distribution, its deviation.

    >>> round(spread(np.arange(101.0)), 6)
    34.0
    """
    low, high = np.quantile(log_p, [0.16, 0.84])
    return float(high - low) / 2


def score_scale(
    statistics: Mapping[str, float], log_p_out: FloatArray, dimensions: int | None
) -> ScoreScale:
    """Set quantiles of the scores beside other measures than nats.

    Args:
        statistics: Statistics of memorization in nats, by name.
        log_p_out: Held-out log p of all observations, (n,) nats.
        dimensions: Numbers that an observation has; None where that is not known.
    """
    width = spread(log_p_out)
    rows = []
    for name in SHOWN:
        value = statistics[name]
        bits = None if dimensions is None else number(value / dimensions / math.log(2), 2)
        times = number(value / width, 2) if width > 0 else None
        rows.append(ScaleRow(STATISTICS[name].label, number(value), factor(value), bits, times))
    return ScoreScale(rows, number(width) if width > 0 else None, dimensions)


def factor(nats: float) -> str:
    """Format how many times as likely so many nats make an observation.

    >>> factor(5.0), factor(9445.0), factor(-1.0)
    ('148', '10^4102', '0.368')
    """
    if abs(nats) > math.log(LARGEST_FACTOR):
        return f"10^{nats / math.log(10):.0f}".replace("-", "−")
    return number(math.exp(nats))


def scale_metrics(
    log_p_out: FloatArray, statistics: dict[str, float], dimensions: int | None
) -> dict[str, float | dict[str, float] | None]:
    """Return the scale as plain JSON.

    Args:
        log_p_out: Held-out log p of each observation, nats.
        statistics: Statistics of memorization in nats, by name.
        dimensions: Numbers that an observation has; None where that is not known.
    """
    bits = {}
    if dimensions is not None:
        in_nats = {n: v for n, v in statistics.items() if STATISTICS[n].unit == "nats"}
        bits = {name: value / dimensions / math.log(2) for name, value in in_nats.items()}
    return {
        "dimensions": dimensions,
        "log_p_out_spread": spread(log_p_out),
        "memorization_bits_per_dimension": bits,
    }


def headline(name: str, estimate: Estimate, unit: str, meaning: str) -> Headline:
    """Return an estimate as a headline."""
    ends = (estimate.low, estimate.high)
    return Headline(name, estimate.value, estimate.std_error, unit, meaning, *ends)


def _meaning(name: str, estimate: Estimate, summary: Summary) -> str:
    """The meaning of a statistic, and what it is of where that is not the scores as they stand."""
    statistic = STATISTICS[name]
    if statistic.linear or summary.exact or estimate.low is None:
        return statistic.meaning
    return f"{statistic.meaning} Of the true scores, noise taken out."


def _above(summary: Summary) -> Headline:
    """Share of observations above the threshold."""
    share, limit = summary.above_threshold, f"{summary.threshold:g}"
    percents = (
        None if part is None else 100 * part for part in (share.std_error, share.low, share.high)
    )
    error, low, high = percents
    true = "" if summary.exact or share.low is None else "true "
    meaning = (
        f"Share of observations whose {true}score is above {limit}: in training at least "
        f"{factor(summary.threshold)} times as likely."
    )
    name = f"Above {limit} {'nat' if summary.threshold == 1 else 'nats'}"
    return Headline(name, 100 * share.value, error, "%", meaning, low, high)


def _ends(estimate: Estimate) -> list[float] | None:
    if estimate.low is None or estimate.high is None:
        return None
    return [estimate.low, estimate.high]


def _in_nats(name: str, estimate: Estimate, meaning: str) -> Headline:
    return headline(name, estimate, "nats", meaning)


def _of_memorization(name: str, estimate: Estimate, meaning: str) -> Headline:
    label, unit = STATISTICS[name].label, STATISTICS[name].unit
    return headline(f"{label} of memorization", estimate, unit, meaning)
