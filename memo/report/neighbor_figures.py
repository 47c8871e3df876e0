"""The figures of memorization and nearest samples: charts and their words."""

from functools import partial

import numpy as np
import polars as pl

from memo.report.charts.binning import highly_memorized
from memo.report.charts.neighbor_charts import mean_ratios, ratio_histogram
from memo.report.figures import Figure
from memo.report.numbers import interval, percent
from memo.report.page_data import NeighborData
from memo.report.ranked_scores import FEWEST_TO_SPLIT
from memo.scores.relation import Interval

WEAK = 0.3
"""A rank correlation below it is weak (Cohen 1988, section 3.2, calls 0.3 medium)."""
CENTRAL = (0.002, 0.998)
"""Quantiles of rho that the histogram spans; its outermost bins hold what lies beyond."""


def neighbor_figures(data: NeighborData | str, scores: pl.DataFrame) -> list[Figure]:
    """Show rho of regular and highly memorized observations, and its means by memorization.

    Args:
        data: Of all observations; or why there is none.
        scores: Their `index` and `memorization`.
    """
    title = "Nearest samples of regular and highly memorized observations"
    ratios = partial(Figure, "neighbor-ratios", title)
    if isinstance(data, str):
        return [ratios(missing=data)]
    memorization = scores["memorization"].to_numpy()
    table = (
        scores.with_columns(highly=pl.Series(highly_memorized(memorization)))
        .join(data.table, on="index")
        .drop_nulls("ratio")
    )
    if len(table) < FEWEST_TO_SPLIT:
        few = f"{len(table)} observations are too few to split by score."
        return [ratios(missing=few), _means(data)]
    ratio, highly = table["ratio"].to_numpy(), table["highly"].to_numpy()
    if not highly.any() or np.ptp(ratio) == 0:
        return [ratios(missing="Scores or distance ratios are all the same."), _means(data)]
    low, high = np.quantile(ratio, CENTRAL)
    beyond = float(((ratio < low) | (ratio > high)).mean()) if low < high else 0.0
    figure = ratios(
        [ratio_histogram(ratio.clip(low, high) if beyond else ratio, highly)],
        f"For each observation ρ, its distance in {data.space} to the nearest held-out observation "
        "over that to the nearest sample: above 1 (dashed), a sample lies nearer than real data "
        f"does. There are {data.count:,} of either: samples of {data.source}, and others of the "
        "data, drawn at random, which stand for held-out data because they owe nothing to the "
        f"observation. {_in_words(data, beyond)}",
        "Did samples give memorized observations away, ρ of the highly memorized (the 5% of the "
        "highest scores, as they stand, noise included) would lie to the right of the others'.",
    )
    return [figure, _means(data)]


def _in_words(data: NeighborData, beyond: float) -> str:
    """Tell the means of the groups, and which observations are in no bar of their own."""
    groups = (
        ("The mean over the highly memorized is", data.relation.highly),
        ("over the others", data.relation.regular),
        ("and the difference", data.relation.difference),
    )
    words = ", ".join(f"{name} {interval(*mean)}" for name, mean in groups if mean is not None)
    words += "."
    if data.relation.infinite:
        words += (
            f" Samples equal {data.relation.infinite:,} of the observations: their ρ is infinite, "
            "first in ranks, and in no mean or bar."
        )
    if beyond:
        words += f" The outermost bins also hold the {percent(beyond)} of all that lie beyond."
    return words


def _means(data: NeighborData) -> Figure:
    figure = partial(Figure, "neighbor-memorization", "Distance ratio against memorization")
    correlation = data.relation.rank_correlation
    if correlation is None:
        return figure(
            missing="Observations are too few, or scores or distance ratios all the same."
        )
    return figure(
        [mean_ratios(data.relation.bins)],
        "Mean ρ of observations of similar memorization, with 95% confidence intervals; flat "
        "lines span the scores that a mean is over. Were samples drawn as the data was, the means "
        "would all lie at 1, or a little above, since ratios scatter further up than down. "
        f"The rank correlation of ρ and the scores, as they stand, is "
        f"{interval(*correlation)}: {_verdict(correlation)}",
        "Did the neighbour test see memorization, the means would rise with the score, and the "
        "rank correlation be far above 0.",
    )


def _verdict(correlation: Interval) -> str:
    """Tell whether this run bears out that the two are only weakly related."""
    value, low, high = correlation
    if low is None or high is None:
        return "one is a function of the other's ranks, in this run."
    if low > -WEAK and high < WEAK:
        found = "and so they are in this run"
    elif low >= WEAK or high <= -WEAK:
        found = "which this run contradicts"
    else:
        found = "which this run leaves open"
    return (
        f"ranks of the one explain {percent(value**2)} of the variance of ranks of the "
        f"other. Van den Burg & Williams (2021) found the two to be only weakly related, {found} "
        f"(weak: the interval lies within ±{WEAK})."
    )
