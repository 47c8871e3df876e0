"""What the nearest samples say of memorization: charts of rho, and samples side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.report.binning import bin_edges, highly_memorized
from memo.report.encodings import GROUPS, SCORE, grouped_bars, layered
from memo.report.figures import Figure
from memo.report.numbers import interval, number, percent
from memo.report.page_data import Interval, NeighborData
from memo.report.themes import BLUE, GREY, Chart
from memo.report.thumbnails import data_uri

__all__ = ["Beside", "nearest_samples", "neighbor_figures"]

FloatArray = NDArray[np.float64]

BESIDE = 12
"""Observations that are shown beside their nearest sample."""
FEWEST_TO_SPLIT = 40
WEAK = 0.3
"""A rank correlation below it is weak (Cohen 1988, section 3.2, calls 0.3 medium)."""
CENTRAL = (0.002, 0.998)
"""Quantiles of rho that the histogram spans; its outermost bins hold what lies beyond."""
RATIO = "ρ, held-out over sample distance"
MEAN_RATIO = "mean ρ"
HEIGHT = 240
TITLE = "Nearest samples of regular and highly memorized observations"


@dataclass(frozen=True)
class Beside:
    """An observation, its nearest sample and its nearest held-out observation, as data URIs."""

    name: str
    score: str
    ratio: str
    observation: str
    sample: str
    held_out: str
    distance_sample: str
    distance_held_out: str


def neighbor_figures(data: NeighborData | str, scores: pl.DataFrame) -> list[Figure]:
    """The two charts of rho.

    Args:
        data: Of all observations; or why there is none.
        scores: Their `index` and `memorization`.
    """
    if isinstance(data, str):
        return [Figure("neighbor-ratios", TITLE, missing=data)]
    return [_ratios(data, scores), _means(data)]


def nearest_samples(
    data: NeighborData, rows: Sequence[dict[str, Any]], images: NDArray[np.uint8]
) -> list[Beside]:
    """The most memorized observations side by side with their neighbours.

    Args:
        data: Of all observations.
        rows: `index`, `id` and `score` (in words) of each; the most memorized first.
        images: For display, row `index`.
    """
    samples = data.samples
    if samples is None:
        return []
    table = data.table.sort("index")
    return [
        Beside(
            name=row["id"],
            score=row["score"],
            ratio="∞" if found["ratio"] is None else number(found["ratio"]),
            observation=data_uri(images[row["index"]]),
            sample=data_uri(samples[found["nearest_sample"]]),
            held_out=data_uri(images[found["nearest_held_out"]]),
            distance_sample=number(found["distance_sample"]),
            distance_held_out=number(found["distance_held_out"]),
        )
        for row in rows[:BESIDE]
        for found in [table.row(row["index"], named=True)]
    ]


def _ratios(data: NeighborData, scores: pl.DataFrame) -> Figure:
    name, title = "neighbor-ratios", TITLE
    table = scores.join(data.table, on="index")
    highly = highly_memorized(table["memorization"].to_numpy())
    table = table.with_columns(highly=pl.Series(highly)).drop_nulls("ratio")
    ratio, highly = table["ratio"].to_numpy(), table["highly"].to_numpy()
    if len(table) < FEWEST_TO_SPLIT:
        return Figure(
            name, title, missing=f"{len(table)} observations are too few to split by score."
        )
    if not highly.any() or np.ptp(ratio) == 0:
        return Figure(name, title, missing="Scores or distance ratios are all the same.")
    shown, beyond = _central(ratio)
    outermost = (
        f" The outermost bins also hold the {percent(beyond)} of all that lie beyond."
        if beyond
        else ""
    )
    return Figure(
        name,
        title,
        [_ratio_chart(shown, highly)],
        f"For each observation ρ, its distance in {data.space} to the nearest held-out observation "
        "over that to the nearest sample: above 1 (dashed), a sample lies nearer than real data "
        f"does. There are {data.count:,} of either: samples of {data.source}, and others of the "
        "data, drawn at random, which stand for held-out data because they owe nothing to the "
        "observation. "
        f"{_groups(data)}{_infinite(data)}{outermost}",
        "Did samples give memorized observations away, ρ of the highly memorized (the 5% of the "
        "highest scores) would lie to the right of the others'.",
    )


def _groups(data: NeighborData) -> str:
    parts = [
        f"{in_words} {interval(*mean)}"
        for in_words, mean in (
            ("The mean over the highly memorized is", data.highly),
            ("over the others", data.regular),
            ("and the difference", data.difference),
        )
        if mean is not None
    ]
    return ", ".join(parts) + "."


def _infinite(data: NeighborData) -> str:
    if not data.infinite:
        return ""
    return (
        f" Samples equal {data.infinite:,} of the observations: their ρ is infinite, first in "
        "ranks, and in no mean or bar."
    )


def _central(ratio: FloatArray) -> tuple[FloatArray, float]:
    """Ratios drawn in to the central range, and the share of those that were outside."""
    low, high = np.quantile(ratio, CENTRAL)
    if low == high:
        return ratio, 0.0
    return ratio.clip(low, high), float(((ratio < low) | (ratio > high)).mean())


def _ratio_chart(ratio: FloatArray, highly: NDArray[np.bool_]) -> Chart:
    edges = bin_edges(ratio, most=32)
    table = pl.concat(
        pl.DataFrame(
            {
                "start": edges[:-1],
                "end": edges[1:],
                "count": np.histogram(ratio[member], edges)[0],
                "group": group,
            }
        ).with_columns(share=pl.col("count") / pl.col("count").sum())
        for group, member in zip(GROUPS, (~highly, highly), strict=True)
    ).filter(pl.col("count") > 0)
    bars = grouped_bars(
        table,
        RATIO,
        alt.Y("share:Q", title="share of the group").axis(format="%"),
        [
            alt.Tooltip("start:Q", format=".3~f", title="ρ from"),
            alt.Tooltip("end:Q", format=".3~f", title="to"),
            alt.Tooltip("count:Q", title="observations"),
            alt.Tooltip("share:Q", format=".1%", title="of the group"),
        ],
    )
    return layered(
        [*bars, _rule(alt.X("at:Q", title=RATIO))],
        "Histogram of the distance ratio of regular and of highly memorized observations.",
        HEIGHT,
    )


def _means(data: NeighborData) -> Figure:
    name, title = "neighbor-memorization", "Distance ratio against memorization"
    if data.rank_correlation is None:
        return Figure(
            name,
            title,
            missing="Observations are too few, or scores or distance ratios all the same.",
        )
    return Figure(
        name,
        title,
        [_mean_chart(data.bins)],
        "Mean ρ of observations of similar memorization, with 95% confidence intervals; flat "
        "lines span the scores that a mean is over. Were samples drawn as the data was, the means "
        "would all lie at 1, or a little above, since ratios scatter further up than down. "
        f"The rank correlation of ρ and memorization is "
        f"{interval(*data.rank_correlation)}: {_verdict(data.rank_correlation)}",
        "Did the neighbour test see memorization, the means would rise with the score, and the "
        "rank correlation be far above 0.",
    )


def _verdict(correlation: Interval) -> str:
    """Whether this run bears out that the two are only weakly related."""
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


def _mean_chart(bins: pl.DataFrame) -> Chart:
    texts = [interval(*row) for row in bins.select("value", "low", "high").iter_rows()]
    table = bins.with_columns(text=pl.Series(texts, dtype=pl.String))
    base = alt.Chart(table).encode(x=alt.X("middle:Q", title=SCORE).scale(zero=False))
    y = alt.Y("value:Q", title=MEAN_RATIO).scale(zero=False)
    spans = (
        alt.Chart(table)
        .mark_rule(color=BLUE, opacity=0.4)
        .encode(x=alt.X("start:Q", title=SCORE), x2="end:Q", y=y)
    )
    bars = (
        base.transform_filter("isValid(datum.low)")
        .mark_rule(color=BLUE, strokeWidth=1.5)
        .encode(y=alt.Y("low:Q", title=MEAN_RATIO), y2="high:Q")
    )
    points = base.mark_point(color=BLUE, filled=True, size=42, opacity=1).encode(
        y=y,
        tooltip=[
            alt.Tooltip("text:N", title=MEAN_RATIO),
            alt.Tooltip("start:Q", format=".3~f", title="scores from (nats)"),
            alt.Tooltip("end:Q", format=".3~f", title="to (nats)"),
            alt.Tooltip("count:Q", title="observations"),
        ],
    )
    return layered(
        [_rule(alt.Y("at:Q", title=MEAN_RATIO)), spans, bars, points],
        "Mean distance ratio in bins of the memorization score, with 95% confidence intervals.",
        HEIGHT,
    )


def _rule(where: alt.X | alt.Y) -> alt.Chart:
    """A dashed line at 1, where both distances are equal."""
    chart: alt.Chart = (
        alt.Chart(pl.DataFrame({"at": [1.0]}))
        .mark_rule(color=GREY, strokeDash=[4, 3], strokeWidth=1.3)
        .encode(where)
    )
    return chart
