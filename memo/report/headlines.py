"""A summary's numbers with what they mean, in the words that every page and table uses."""

from collections.abc import Iterator
from typing import Any

from memo.report.page_data import Headline
from memo.scores.comparison import Comparison
from memo.scores.statistics import STATISTICS
from memo.scores.summaries import Summary

__all__ = ["difference_headlines", "metrics", "summary_headlines"]


def summary_headlines(summary: Summary) -> list[Headline]:
    """Headline numbers of one experiment."""
    return [*_memorization(summary), *_likelihood(summary)]


def difference_headlines(comparison: Comparison) -> list[Headline]:
    """How a second experiment differs from a first."""
    paired = "Paired over observations."
    jackknife = "Standard error by the jackknife over repeats, or blocks of models."
    return [
        Headline(
            "Mean memorization",
            comparison.mean_memorization.value,
            comparison.mean_memorization.std_error,
            "nats",
            paired,
        ),
        *(
            Headline(
                f"{STATISTICS[name].label} of memorization",
                estimate.value,
                estimate.std_error,
                STATISTICS[name].unit,
                "Exact." if estimate.std_error == 0 else jackknife,
            )
            for name, estimate in comparison.statistics.items()
            if name != "mean"
        ),
        Headline(
            "Held-out log-likelihood",
            comparison.held_out_log_likelihood.value,
            comparison.held_out_log_likelihood.std_error,
            "nats",
            f"{paired} Positive where the second is the better density.",
        ),
    ]


def metrics(summary: Summary) -> dict[str, Any]:
    """A summary as plain JSON; nats, shares between 0 and 1."""
    return {
        "epoch": summary.epoch,
        "observations": summary.observations,
        "repeats": summary.repeats,
        "exact": summary.exact,
        "memorization": {name: e.value for name, e in summary.memorization.items()},
        "memorization_std_error": {name: e.std_error for name, e in summary.memorization.items()},
        "significant_share": summary.significant,
        "held_out_log_likelihood": summary.held_out_log_likelihood.value,
        "held_out_log_likelihood_std_error": summary.held_out_log_likelihood.std_error,
        "train_log_likelihood": summary.train_log_likelihood.value,
        "gap": summary.gap.value,
        "gap_std_error": summary.gap.std_error,
    }


def _memorization(summary: Summary) -> Iterator[Headline]:
    for name, estimate in summary.memorization.items():
        statistic = STATISTICS[name]
        yield Headline(
            f"{statistic.label} of memorization",
            estimate.value,
            estimate.std_error,
            statistic.unit,
            statistic.meaning,
        )
    if summary.significant is not None:
        yield Headline(
            "Significantly memorized",
            100 * summary.significant,
            None,
            "%",
            "Share of observations whose score is above zero; scores are exact."
            if summary.exact
            else "Share of observations whose score is above zero at a false discovery rate of 5%.",
        )


def _likelihood(summary: Summary) -> Iterator[Headline]:
    held_out, gap = summary.held_out_log_likelihood, summary.gap
    yield Headline(
        "Held-out log-likelihood",
        held_out.value,
        held_out.std_error,
        "nats",
        "Mean log density of observations under models that were not trained on them.",
    )
    yield Headline(
        "Train/held-out gap",
        gap.value,
        gap.std_error,
        "nats",
        "Overfitting: how much higher the mean log-likelihood is in training than held out.",
    )
