"""A summary's numbers with what they mean, in the words that every page and table uses."""

from typing import Any

from memo.report.page_data import Headline
from memo.scores.comparison import Comparison
from memo.scores.statistics import STATISTICS
from memo.scores.summaries import Estimate, Summary


def summary_headlines(summary: Summary) -> list[Headline]:
    """Return the headline numbers of one experiment."""
    headlines = [
        _of_memorization(name, estimate, STATISTICS[name].meaning)
        for name, estimate in summary.memorization.items()
    ]
    if summary.significant is not None:
        how = "; scores are exact" if summary.exact else " at a false discovery rate of 5%"
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


def difference_headlines(comparison: Comparison) -> list[Headline]:
    """Return how a second experiment differs from a first."""
    paired = "Paired over observations."
    jackknife = "Standard error by the jackknife over repeats, or blocks of models."
    return [
        _in_nats("Mean memorization", comparison.mean_memorization, paired),
        *(
            _of_memorization(name, estimate, "Exact." if estimate.std_error == 0 else jackknife)
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
        "memorization": {name: e.value for name, e in summary.memorization.items()},
        "memorization_std_error": {name: e.std_error for name, e in summary.memorization.items()},
        "significant_share": summary.significant,
        "held_out_log_likelihood": summary.held_out_log_likelihood.value,
        "held_out_log_likelihood_std_error": summary.held_out_log_likelihood.std_error,
        "train_log_likelihood": summary.train_log_likelihood.value,
        "gap": summary.gap.value,
        "gap_std_error": summary.gap.std_error,
    }


def _in_nats(name: str, estimate: Estimate, meaning: str) -> Headline:
    return Headline(name, estimate.value, estimate.std_error, "nats", meaning)


def _of_memorization(name: str, estimate: Estimate, meaning: str) -> Headline:
    label, unit = STATISTICS[name].label, STATISTICS[name].unit
    return Headline(f"{label} of memorization", estimate.value, estimate.std_error, unit, meaning)
