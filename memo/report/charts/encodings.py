"""Channels and layers that charts have in common."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import altair as alt
import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.report.charts.binning import bin_edges, binned_density, histogram
from memo.report.charts.themes import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, Chart
from memo.report.numbers import estimate
from memo.scores.statistics import STATISTICS

FloatArray = NDArray[np.float64]
Channel = TypeVar("Channel")

SCORE = "memorization score (nats)"
STATISTIC_COLOURS = {"max": GREY, "q99.9": VERMILLION, "q95": ORANGE, "mean": PURPLE, "q50": BLUE}
"""Colours of statistics of the scores, in the legend's order; others take the spare ones."""
SPARE_COLOURS = (GREEN, SKY)

GROUPS = {"regular": BLUE, "highly memorized": VERMILLION}
INSETS = {"regular": 0.03, "highly memorized": 0.3}
"""Share of a bin that is left free on either side of each group's bar."""

DASHED: dict[str, Any] = {"color": GREY, "strokeDash": [4, 3], "strokeWidth": 1.3}
"""Style of lines that others are read against."""


def named(channel: Callable[..., Channel], column: str, values: Mapping[str, Any]) -> Channel:
    """Return a channel, e.g. of colours, with a value for each name; in this order in legends."""
    scale = alt.Scale(domain=list(values), range=list(values.values()))
    return channel(f"{column}:N", scale=scale, title=None)


def statistic_colours() -> dict[str, str]:
    """Return the colour of each statistic in nats by its name, in the legend's order."""
    in_nats = [name for name, statistic in STATISTICS.items() if statistic.unit == "nats"]
    others = [name for name in in_nats if name not in STATISTIC_COLOURS]
    return STATISTIC_COLOURS | dict(zip(others, itertools.cycle(SPARE_COLOURS), strict=False))


def with_unit(label: str, unit: str) -> str:
    """Return the title of an axis: a label, and its unit in parentheses if it has one."""
    return f"{label} ({unit})" if unit else label


def statistic_label(name: str) -> str:
    """Return the label of a statistic within a sentence."""
    label = STATISTICS[name].label
    return label[0].lower() + label[1:]


def domain(*values: FloatArray) -> list[float]:
    """Return the range of all of these together."""
    return [float(min(v.min() for v in values)), float(max(v.max() for v in values))]


def epochs(last: int) -> alt.X:
    """Return the axis of epochs, from the first step of training to the last epoch."""
    return alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d")).scale(
        domain=[0, last], nice=False
    )


def range_tooltips(start: str, end: str = "to (nats)") -> list[alt.Tooltip]:
    """Return tooltips of a bin's `start`, `end` and `count`, the first two with these titles."""
    return [
        alt.Tooltip("start:Q", format=".3~f", title=start),
        alt.Tooltip("end:Q", format=".3~f", title=end),
        alt.Tooltip("count:Q", title="observations"),
    ]


def intervals(base: alt.Chart, channels: Mapping[str, Any], **style: Any) -> list[alt.Chart]:
    """Return points, and bars from `low` to `high` where these are known.

    Args:
        base: Says where the points lie.
        channels: Of the points alone.
        style: Of points and bars.
    """
    bars = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1.5, **style)
    points = base.mark_point(filled=True, size=40, opacity=1, **style)
    layers = [
        bars.encode(y="low:Q", y2="high:Q", strokeDash=alt.value([1, 0])),
        points.encode(**channels),
    ]
    return layers if base.data["low"].count() else layers[1:]  # Vega warns of empty layers


def curves(
    quantiles: pl.DataFrame, column: str, title: str, last: int, *look: Any, **points: Any
) -> list[alt.Chart]:
    """Return lines over epochs, and points with their 95% intervals.

    Args:
        quantiles: `epoch`, `value`, `low`, `high` and a name in `column` for each point.
        column: A curve is drawn for each of its names.
        title: Of the axis of values.
        last: Epoch.
        look: Channels that tell the curves apart.
        points: Further channels of the points.
    """
    texts = [estimate(*row) for row in quantiles.select("value", "low", "high").iter_rows()]
    table = quantiles.with_columns(
        pl.col("low", "high").cast(pl.Float64).fill_nan(None),
        text=pl.Series(texts, dtype=pl.String),
    )
    base = alt.Chart(table).encode(*look, x=epochs(last), y=alt.Y("value:Q", title=title))
    tooltip = [f"{column}:N", "epoch:Q", alt.Tooltip("text:N", title=title)]
    return [base.mark_line(), *intervals(base, {"tooltip": tooltip, **points})]


def two_lines(table: pl.DataFrame, colours: Mapping[str, str]) -> alt.Chart:
    """Return a base for a line of each `side` of a table: the first solid, the second dashed."""
    dashes = dict(zip(colours, ([1, 0], [5, 3]), strict=False))
    return alt.Chart(table).encode(
        color=named(alt.Color, "side", colours), strokeDash=named(alt.StrokeDash, "side", dashes)
    )


def labelled_rule(
    x: float, text: str, *, color: str = GREY, left: bool = True, row: int = 0
) -> list[alt.Chart]:
    """Return a dashed vertical line, and any text to its left or right, so many rows down."""
    base = alt.Chart(pl.DataFrame({"x": [x], "text": [text]})).encode(x="x:Q")
    side: dict[str, Any] = {"align": "right", "dx": -5} if left else {"align": "left", "dx": 5}
    label = base.mark_text(baseline="top", **side).encode(y=alt.value(16 * row), text="text:N")
    rule = base.mark_rule(**DASHED | {"color": color})
    return [rule, label] if text else [rule]


def grouped_bars(
    values: FloatArray,
    highly: NDArray[np.bool_],
    most: int,
    title: str,
    y: alt.Y,
    tooltip: Sequence[alt.Tooltip],
) -> list[alt.Chart]:
    """Return histograms of regular and highly memorized observations, the latter's bars in front.

    Args:
        values: What is counted in bins, (n,).
        highly: True for the highly memorized, (n,).
        most: Bins.
        title: Of the axis of values.
        y: Height of the bars: `count`, or `share` of the group.
        tooltip: What bars tell beside their group.
    """
    edges = bin_edges(values, most)
    counted = [histogram(values[member], edges) for member in (~highly, highly)]
    table = pl.concat(
        counts.with_columns(
            group=pl.lit(group),
            share=pl.col("count") / pl.col("count").sum(),
            left=pl.col("start") + inset * (pl.col("end") - pl.col("start")),
            right=pl.col("end") - inset * (pl.col("end") - pl.col("start")),
        )
        for (group, inset), counts in zip(INSETS.items(), counted, strict=True)
    )
    base = alt.Chart(table).encode(
        x=alt.X("left:Q", bin="binned", title=title).scale(domain=domain(values)),
        x2="right:Q",
        y=y.stack(None),
        color=named(alt.Color, "group", GROUPS),
        tooltip=[alt.Tooltip("group:N"), *tooltip],
    )
    return [
        base.transform_filter(alt.datum.group == group).mark_bar(binSpacing=0) for group in GROUPS
    ]


def density_layer(
    x: tuple[str, FloatArray], y: tuple[str, FloatArray], bins: tuple[int, int]
) -> alt.Chart:
    """Return observations counted in rectangles, darker where there are more.

    Args:
        x: Title of the axis, and where the observations lie on it.
        y: Title and places on the other axis.
        bins: Rectangles along x and y.
    """
    table = binned_density(x[1], y[1], bins)
    most = max(2, int(table["count"].to_numpy().max()))
    shade = alt.Scale(type="log", domain=[1, most], range=[0.18, 0.95])
    base = alt.Chart(table).encode(
        x=alt.X("x:Q", title=x[0]).scale(zero=False),
        x2="x_end:Q",
        y=alt.Y("y:Q", title=y[0]).scale(zero=False),
        y2="y_end:Q",
        opacity=alt.Opacity("count:Q", scale=shade, legend=None),
        tooltip=[alt.Tooltip("count:Q", title="observations here")],
    )
    chart: alt.Chart = base.mark_rect(color=GREY)
    return chart


def layered(
    layers: Sequence[alt.Chart], description: str, height: int, title: str | None = None
) -> Chart:
    """Return one chart of several layers, described for those who cannot see it."""
    chart = alt.LayerChart(layer=list(layers), height=height, description=description)
    return chart if title is None else chart.properties(title=title)
