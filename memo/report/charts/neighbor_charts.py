"""The charts of rho, the held-out over the sample distance."""

from collections.abc import Sequence

import altair as alt
import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.report.charts.encodings import (
    DASHED,
    SCORE,
    grouped_bars,
    intervals,
    layered,
    range_tooltips,
)
from memo.report.charts.themes import BLUE, Chart
from memo.report.numbers import interval
from memo.scores.relation import MemorizationBin

RATIO = "ρ, held-out over sample distance"
MEAN_RATIO = "mean ρ"
HEIGHT = 240
MOST_BINS = 32
EQUAL = pl.DataFrame({"at": [1.0]})
"""The ratio of equal distances."""


def ratio_histogram(ratio: NDArray[np.float64], highly: NDArray[np.bool_]) -> Chart:
    """Draw histograms of rho of regular and of highly memorized observations."""
    share = alt.Y("share:Q", title="share of the group").axis(format="%")
    tooltip = [
        *range_tooltips("ρ from", "to"),
        alt.Tooltip("share:Q", format=".1%", title="of the group"),
    ]
    bars = grouped_bars(ratio, highly, MOST_BINS, RATIO, share, tooltip)
    return layered(
        [*bars, alt.Chart(EQUAL).mark_rule(**DASHED).encode(x="at:Q")],
        "Histogram of the distance ratio of regular and of highly memorized observations.",
        HEIGHT,
    )


def mean_ratios(bins: Sequence[MemorizationBin]) -> Chart:
    """Draw the mean of rho in bins of the score."""
    rows = [
        {"start": b.start, "end": b.end, "middle": b.middle, "count": b.count}
        | b.ratio._asdict()
        | {"text": interval(*b.ratio)}
        for b in bins
    ]
    table = pl.DataFrame(rows, infer_schema_length=None)
    base = alt.Chart(table).encode(
        x=alt.X("middle:Q", title=SCORE).scale(zero=False),
        y=alt.Y("value:Q", title=MEAN_RATIO).scale(zero=False),
    )
    tooltip = [alt.Tooltip("text:N", title=MEAN_RATIO), *range_tooltips("scores from (nats)")]
    return layered(
        [
            alt.Chart(EQUAL).mark_rule(**DASHED).encode(y="at:Q"),
            base.mark_rule(color=BLUE, opacity=0.4).encode(x="start:Q", x2="end:Q"),
            *intervals(base, {"tooltip": tooltip}, color=BLUE),
        ],
        "Mean distance ratio in bins of the memorization score, with 95% confidence intervals.",
        HEIGHT,
    )
