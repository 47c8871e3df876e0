"""What the charts have in common: channels, layers, error bars."""

import itertools
from collections.abc import Sequence

import altair as alt
import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.report.binning import binned_density
from memo.report.numbers import estimate
from memo.report.themes import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, Chart
from memo.scores.statistics import STATISTICS

__all__ = [
    "GROUPS",
    "SCORE",
    "categories",
    "density_layer",
    "domain",
    "epochs",
    "error_bars",
    "grouped_bars",
    "layered",
    "statistic_colours",
    "statistic_label",
    "with_interval",
]

FloatArray = NDArray[np.float64]

SCORE = "memorization score (nats)"
STATISTIC_COLOURS = {"max": GREY, "q99.9": VERMILLION, "q95": ORANGE, "mean": PURPLE, "q50": BLUE}
"""Colours of statistics of the scores, in the legend's order; others take the spare ones."""
SPARE_COLOURS = (GREEN, SKY)

GROUPS = {"regular": BLUE, "highly memorized": VERMILLION}
INSETS = {"regular": 0.03, "highly memorized": 0.3}
"""Share of a bin that is left free on either side of each group's bar."""


def statistic_colours() -> dict[str, str]:
    """Colour of each statistic in nats by its name, in the legend's order."""
    in_nats = [name for name, statistic in STATISTICS.items() if statistic.unit == "nats"]
    others = [name for name in in_nats if name not in STATISTIC_COLOURS]
    return STATISTIC_COLOURS | dict(zip(others, itertools.cycle(SPARE_COLOURS), strict=False))


def statistic_label(name: str) -> str:
    """Label of a statistic within a sentence."""
    label = STATISTICS[name].label
    return label[0].lower() + label[1:]


def with_interval(quantiles: pl.DataFrame) -> pl.DataFrame:
    """Adds `low` and `high`, one standard error either side, and `text`."""
    error = pl.col("std_error").cast(pl.Float64).fill_nan(None)
    texts = [
        estimate(value, std_error)
        for value, std_error in quantiles.select("value", "std_error").iter_rows()
    ]
    return quantiles.with_columns(
        low=pl.col("value") - error,
        high=pl.col("value") + error,
        text=pl.Series(texts, dtype=pl.String),
    )


def domain(*values: FloatArray) -> list[float]:
    """The range of all of these together."""
    return [float(min(v.min() for v in values)), float(max(v.max() for v in values))]


def epochs(last: int) -> alt.X:
    """The axis of epochs, from the first step of training to the last epoch."""
    return alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d")).scale(
        domain=[0, last], nice=False
    )


def categories(column: str, colours: dict[str, str]) -> alt.Color:
    """Colours by name, in the legend in the order given."""
    return alt.Color(
        f"{column}:N",
        scale=alt.Scale(domain=list(colours), range=list(colours.values())),
        title=None,
    )


def error_bars(base: alt.Chart, table: pl.DataFrame, title: str) -> list[alt.Chart]:
    """Bars from `low` to `high`, where any are known."""
    if table["low"].null_count() == len(table):
        return []
    known = base.transform_filter("isValid(datum.low)")
    bars = known.mark_rule(strokeWidth=1.5).encode(
        y=alt.Y("low:Q", title=title), y2="high:Q", strokeDash=alt.value([1, 0])
    )
    return [bars]


def grouped_bars(
    table: pl.DataFrame, x: str, y: alt.Y, tooltip: list[alt.Tooltip]
) -> list[alt.Chart]:
    """A bar for each of `GROUPS` in each bin, the narrow ones in front.

    Args:
        table: `start` and `end` of the bins, `group`, and what `y` and `tooltip` name.
        x: Title of the axis.
        y: Height of the bars.
        tooltip: What they tell, after their group.
    """
    inset = pl.col("group").replace_strict(INSETS) * (pl.col("end") - pl.col("start"))
    table = table.with_columns(left=pl.col("start") + inset, right=pl.col("end") - inset)
    ends = domain(table["start"].to_numpy(), table["end"].to_numpy())
    base = alt.Chart(table).encode(
        x=alt.X("left:Q", bin="binned", title=x).scale(domain=ends),
        x2="right:Q",
        y=y.stack(None),
        color=categories("group", GROUPS),
        tooltip=[alt.Tooltip("group:N"), *tooltip],
    )
    return [
        base.transform_filter(alt.datum.group == group).mark_bar(binSpacing=0) for group in GROUPS
    ]


def layered(
    layers: Sequence[alt.Chart], description: str, height: int, title: str | None = None
) -> Chart:
    """One chart of several layers, described for those who cannot see it."""
    chart = alt.LayerChart(layer=list(layers), height=height, description=description)
    return chart if title is None else chart.properties(title=title)


def density_layer(
    x: tuple[str, FloatArray], y: tuple[str, FloatArray], bins: tuple[int, int]
) -> alt.Chart:
    """Observations counted in rectangles, darker where there are more.

    Args:
        x: Title of the axis, and where the observations lie on it.
        y: The same for the other axis.
        bins: Rectangles along x and y.
    """
    table = binned_density(x[1], y[1], bins)
    most = max(2, int(table["count"].to_numpy().max()))
    shade = alt.Scale(type="log", domain=[1, most], range=[0.18, 0.95])
    chart: alt.Chart = (
        alt.Chart(table)
        .mark_rect(color=GREY)
        .encode(
            x=alt.X("x:Q", title=x[0]).scale(zero=False),
            x2="x_end:Q",
            y=alt.Y("y:Q", title=y[0]).scale(zero=False),
            y2="y_end:Q",
            opacity=alt.Opacity("count:Q", scale=shade, legend=None),
            tooltip=[alt.Tooltip("count:Q", title="observations here")],
        )
    )
    return chart
