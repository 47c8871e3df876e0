"""A summary's numbers with what they mean, in the words that every page and table uses."""

from typing import Any

from memo.report.page_data import Headline
from memo.scores.comparison import Comparison
from memo.scores.summaries import Estimate, Summary

__all__ = ["MEMORIZATION", "difference_headlines", "in_nats", "metrics", "summary_headlines"]

MEMORIZATION = {
    "mean": ("Mean", "What an average observation owes to its own presence in training."),
    "q50": ("Median", "Half of the observations are memorized less than this."),
    "q95": ("95% quantile", "One observation in twenty is memorized more than this."),
    "q99.9": ("99.9% quantile", "One observation in a thousand is memorized more than this."),
    "max": ("Maximum", "The most memorized observation."),
}


def summary_headlines(summary: Summary) -> list[Headline]:
    """Return the headline numbers of one experiment."""
    headlines = [
        in_nats(f"{MEMORIZATION[name][0]} of memorization", estimate, MEMORIZATION[name][1])
        for name, estimate in summary.memorization.items()
    ]
    if summary.significant is not None:
        how = "; scores are exact" if summary.exact else " at a false discovery rate of 5%"
        meaning = f"Share of observations whose score is above zero{how}."
        share = 100 * summary.significant
        headlines.append(Headline("Significantly memorized", share, None, "%", meaning))
    return [
        *headlines,
        in_nats(
            "Held-out log-likelihood",
            summary.held_out_log_likelihood,
            "Mean log density of observations under models that were not trained on them.",
        ),
        in_nats(
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
        in_nats("Mean memorization", comparison.mean_memorization, paired),
        *(
            in_nats(
                f"{MEMORIZATION[name][0]} of memorization",
                estimate,
                "Exact." if estimate.std_error == 0 else jackknife,
            )
            for name, estimate in comparison.statistics.items()
            if name != "mean"
        ),
        in_nats(
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


def in_nats(name: str, estimate: Estimate, meaning: str) -> Headline:
    """Return an estimate in nats as a headline."""
    return Headline(name, estimate.value, estimate.std_error, "nats", meaning)
