"""The charts of one experiment, one function each: plain arrays and tables in, a chart out.

No chart reads a file or knows its width; `themes` says how it looks and where it is drawn.
"""

import altair as alt
import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.report.binning import bin_edges, histogram, shares_of_bins
from memo.report.encodings import (
    GROUPS,
    SCORE,
    categories,
    density_layer,
    domain,
    epochs,
    error_bars,
    grouped_bars,
    layered,
    statistic_colours,
    statistic_label,
    with_interval,
)
from memo.report.numbers import number
from memo.report.themes import BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION, Chart

__all__ = [
    "distribution",
    "log_likelihood_counts",
    "log_likelihood_shares",
    "loss_curves",
    "memorization_by_log_likelihood",
    "quantile_curves",
]

FloatArray = NDArray[np.float64]

COUNT = "observations (square-root scale)"
LOG_P_IN = "log-likelihood when trained on, log p in (nats)"
REGIONS = {"up to the 95% quantile": BLUE, "95% to 99.9%": ORANGE, "above 99.9%": VERMILLION}
MARKED_QUANTILES = {"95%": 0.95, "99.9%": 0.999}
HEIGHT = 260
PANEL_HEIGHT = 190
HEADROOM = 1.35
"""Leaves room for the labels of quantiles above the highest bar."""


def distribution(memorization: FloatArray) -> Chart:
    """Histogram of the scores, with the quantiles that speak of the tail."""
    levels = np.quantile(memorization, list(MARKED_QUANTILES.values()))
    table = histogram(memorization, bin_edges(memorization))
    centre = ((table["start"] + table["end"]) / 2).to_numpy()
    table = table.with_columns(region=pl.Series(_regions(centre, levels))).filter(
        pl.col("count") > 0
    )
    most = int(table["count"].to_numpy().max())
    bars = (
        alt.Chart(table)
        .mark_bar(binSpacing=0.5)
        .encode(
            x=alt.X("start:Q", bin="binned", title=SCORE, scale=alt.Scale(zero=False)),
            x2="end:Q",
            y=alt.Y("count:Q", title=COUNT, axis=alt.Axis(tickMinStep=1)).scale(
                type="sqrt", domain=[0, HEADROOM * most], nice=False
            ),
            color=categories("region", REGIONS),
            tooltip=[
                alt.Tooltip("start:Q", format=".3~f", title="from (nats)"),
                alt.Tooltip("end:Q", format=".3~f", title="to (nats)"),
                alt.Tooltip("count:Q", title="observations"),
            ],
        )
    )
    return layered(
        [bars, *_marked(dict(zip(MARKED_QUANTILES, levels, strict=True)), memorization)],
        "Histogram of the memorization scores with their 95% and 99.9% quantiles.",
        HEIGHT,
    )


def quantile_curves(quantiles: pl.DataFrame, last_epoch: int, turning_point: int | None) -> Chart:
    """Statistics of the scores at each scored epoch, with one standard error either side."""
    names = {name: statistic_label(name) for name in statistic_colours()}
    shown = quantiles.filter(pl.col("statistic").is_in(names))
    table = with_interval(shown).with_columns(pl.col("statistic").replace(names))
    colours = {names[name]: colour for name, colour in statistic_colours().items()}
    base = alt.Chart(table).encode(
        x=epochs(last_epoch),
        color=categories("statistic", colours),
        y=alt.Y("value:Q", title=SCORE),
    )
    points = base.mark_point(filled=True, size=38, opacity=1).encode(
        shape=alt.Shape("statistic:N", scale=alt.Scale(domain=list(colours)), title=None),
        tooltip=["statistic:N", "epoch:Q", alt.Tooltip("text:N", title=SCORE)],
    )
    return layered(
        [
            *_turning_rule(turning_point),
            base.mark_line(),
            *error_bars(base, table, SCORE),
            points,
        ],
        "Quantiles of the memorization score over the scored epochs.",
        HEIGHT,
    )


def loss_curves(losses: pl.DataFrame, last_epoch: int, turning_point: int | None) -> Chart:
    """Train and held-out loss over epochs."""
    colours = {"held out": GREEN, "train": SKY}
    names = {"held_out": "held out", "train": "train"}
    table = (
        losses.unpivot(["held_out", "train"], index="epoch", variable_name="side")
        .with_columns(pl.col("side").replace(names))
        .drop_nulls()
    )
    if "held out" not in table["side"].unique():
        del colours["held out"]
    lines = (
        alt.Chart(table)
        .mark_line(point=len(losses) <= 20)
        .encode(
            x=epochs(last_epoch),
            y=alt.Y("value:Q", title="loss (nats an observation)").scale(zero=False),
            color=categories("side", colours),
            strokeDash=alt.StrokeDash(
                "side:N", scale=alt.Scale(domain=list(colours), range=[[1, 0], [5, 3]]), title=None
            ),
            tooltip=[
                alt.Tooltip("side:N", title="loss"),
                "epoch:Q",
                alt.Tooltip("value:Q", format=",.4~f", title="nats"),
            ],
        )
    )
    return layered(
        [*_turning_rule(turning_point, "lowest held-out loss"), lines],
        "Train and held-out loss over the epochs of training.",
        PANEL_HEIGHT,
    )


def memorization_by_log_likelihood(
    log_p_in: FloatArray, memorization: FloatArray, shown: pl.DataFrame, with_images: bool
) -> Chart:
    """Score against log p in: all observations as a density, some as points.

    Args:
        log_p_in: (n,).
        memorization: (n,).
        shown: The points: `index`, `id`, `label`, `group`, `log_p_in`, `memorization`, `text`.
        with_images: Whether the page gives each point an `image`.
    """
    groups = {"most memorized": VERMILLION, "drawn at random": BLUE}
    colours = {name: groups[name] for name in shown["group"].unique(maintain_order=True)}
    shapes = alt.Scale(domain=list(colours), range=["triangle-up", "circle"])
    points = (
        alt.Chart(shown)
        .mark_point(size=34, strokeWidth=1.4, fillOpacity=0.25, opacity=0.95)
        .encode(
            x=alt.X("log_p_in:Q", title=LOG_P_IN),
            y=alt.Y("memorization:Q", title=SCORE),
            color=categories("group", colours),
            fill=categories("group", colours),
            shape=alt.Shape("group:N", scale=shapes, title=None),
            tooltip=[
                *([alt.Tooltip("image:N", title="image")] if with_images else []),
                alt.Tooltip("id:N"),
                alt.Tooltip("label:N"),
                alt.Tooltip("text:N", title="score (nats)"),
                alt.Tooltip("log_p_in:Q", title="log p in", format=",.5~r"),
            ],
        )
    )
    return layered(
        [density_layer((LOG_P_IN, log_p_in), (SCORE, memorization), (60, 40)), points],
        "Memorization score against log-likelihood: counts in rectangles, and single points.",
        340,
    )


def log_likelihood_counts(log_p_in: FloatArray, highly: NDArray[np.bool_]) -> Chart:
    """How many regular and highly memorized observations there are at each log p in."""
    table = _shares(log_p_in, highly).rename({"chosen": "highly memorized"})
    long = table.unpivot(list(GROUPS), index=["start", "end"], variable_name="group")
    return layered(
        grouped_bars(
            long.filter(pl.col("value") > 0),
            LOG_P_IN,
            alt.Y("value:Q", title=COUNT).scale(type="sqrt"),
            [alt.Tooltip("value:Q", title="observations")],
        ),
        "Counts of regular and highly memorized observations by log-likelihood.",
        PANEL_HEIGHT,
    )


def log_likelihood_shares(log_p_in: FloatArray, highly: NDArray[np.bool_]) -> Chart:
    """Which share of the observations at each log p in is highly memorized."""
    table = _shares(log_p_in, highly).rename({"chosen": "highly"})
    x = alt.X("middle:Q", title=LOG_P_IN).scale(domain=domain(log_p_in))
    base = alt.Chart(table).encode(x=x)
    bars = base.mark_rule(color=VERMILLION, strokeWidth=1.5).encode(
        y=alt.Y("low:Q", title="share highly memorized", axis=alt.Axis(format="%")), y2="high:Q"
    )
    points = base.mark_point(color=VERMILLION, filled=True, size=40, opacity=1).encode(
        y=alt.Y("share:Q", title="share highly memorized", axis=alt.Axis(format="%")),
        tooltip=[
            alt.Tooltip("share:Q", format=".1%"),
            alt.Tooltip("highly:Q", title="highly memorized"),
            alt.Tooltip("regular:Q", title="regular"),
        ],
    )
    overall = pl.DataFrame({"share": [float(highly.mean())]})
    level = alt.Chart(overall).mark_rule(color=GREY, strokeDash=[4, 3]).encode(y="share:Q")
    return layered(
        [level, bars, points],
        "Share of highly memorized observations by log-likelihood, with its standard error.",
        PANEL_HEIGHT,
    )


def _regions(values: FloatArray, levels: FloatArray) -> list[str]:
    names = list(REGIONS)
    return [names[i] for i in np.searchsorted(levels, values)]


def _marked(levels: dict[str, float], values: FloatArray) -> list[alt.Chart]:
    middle = (values.min() + values.max()) / 2
    charts = []
    for row, (name, level) in enumerate(levels.items()):
        table = pl.DataFrame({"level": [level], "text": [f"{name}: {number(level)}"]})
        base = alt.Chart(table).encode(x="level:Q")
        left = level < middle
        charts += [
            base.mark_rule(strokeDash=[4, 3], strokeWidth=1.3, color="#444444"),
            base.mark_text(
                align="left" if left else "right", dx=5 if left else -5, baseline="top"
            ).encode(y=alt.value(16 * row), text="text:N"),
        ]
    return charts


def _turning_rule(epoch: int | None, label: str = "") -> list[alt.Chart]:
    if epoch is None:
        return []
    base = alt.Chart(pl.DataFrame({"epoch": [epoch], "text": [label]})).encode(x="epoch:Q")
    rule = base.mark_rule(color=GREY, strokeDash=[4, 3], strokeWidth=1.3)
    text = base.mark_text(align="right", dx=-5, baseline="top").encode(
        y=alt.value(0), text="text:N"
    )
    return [rule, text] if label else [rule]


def _shares(log_p_in: FloatArray, highly: NDArray[np.bool_]) -> pl.DataFrame:
    return shares_of_bins(log_p_in, highly, bin_edges(log_p_in, most=28))
