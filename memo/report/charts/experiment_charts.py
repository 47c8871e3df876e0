"""The charts of one experiment's scores and losses."""

import altair as alt
import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.report.charts.binning import bin_edges, histogram, shares_of_bins
from memo.report.charts.encodings import (
    DASHED,
    SCORE,
    curves,
    density_layer,
    domain,
    epochs,
    grouped_bars,
    intervals,
    labelled_rule,
    layered,
    named,
    range_tooltips,
    statistic_colours,
    statistic_label,
    two_lines,
)
from memo.report.charts.themes import BLUE, GREEN, ORANGE, SKY, VERMILLION, Chart
from memo.report.numbers import number

FloatArray = NDArray[np.float64]

COUNT = "observations (square-root scale)"
LOG_P_IN = "log-likelihood when trained on, log p in (nats)"
REGIONS = {"up to the 95% quantile": BLUE, "95% to 99.9%": ORANGE, "above 99.9%": VERMILLION}
MARKED_QUANTILES = {"95%": 0.95, "99.9%": 0.999}
HEIGHT = 260
PANEL_HEIGHT = 190
HEADROOM = 1.35
"""Leaves room for the labels of quantiles above the highest bar."""
BINS_OF_LOG_P = 28


def distribution(memorization: FloatArray) -> Chart:
    """Draw the histogram of the scores, with the quantiles that speak of the tail."""
    levels = np.quantile(memorization, list(MARKED_QUANTILES.values()))
    table = histogram(memorization, bin_edges(memorization))
    centre = ((table["start"] + table["end"]) / 2).to_numpy()
    region = np.array(list(REGIONS))[np.searchsorted(levels, centre)]
    most = int(table["count"].to_numpy().max())
    height = alt.Scale(type="sqrt", domain=[0, HEADROOM * most], nice=False)
    bars = alt.Chart(table.with_columns(region=pl.Series(region))).encode(
        x=alt.X("start:Q", bin="binned", title=SCORE, scale=alt.Scale(zero=False)),
        x2="end:Q",
        y=alt.Y("count:Q", title=COUNT, axis=alt.Axis(tickMinStep=1), scale=height),
        color=named(alt.Color, "region", REGIONS),
        tooltip=range_tooltips("from (nats)"),
    )
    middle = (memorization.min() + memorization.max()) / 2
    marks = [
        layer
        for row, (name, level) in enumerate(zip(MARKED_QUANTILES, levels, strict=True))
        for layer in labelled_rule(
            level, f"{name}: {number(level)}", color="#444444", left=level >= middle, row=row
        )
    ]
    return layered(
        [bars.mark_bar(binSpacing=0.5), *marks],
        "Histogram of the memorization scores with their 95% and 99.9% quantiles.",
        HEIGHT,
    )


def quantile_curves(quantiles: pl.DataFrame, last_epoch: int, turning_point: int | None) -> Chart:
    """Draw statistics of the scores at each scored epoch, with their 95% intervals."""
    names = {name: statistic_label(name) for name in statistic_colours()}
    colours = {names[name]: colour for name, colour in statistic_colours().items()}
    shown = quantiles.filter(pl.col("statistic").is_in(names))
    lines = curves(
        shown.with_columns(pl.col("statistic").replace(names)),
        "statistic",
        SCORE,
        last_epoch,
        named(alt.Color, "statistic", colours),
        shape=alt.Shape("statistic:N", scale=alt.Scale(domain=list(colours)), title=None),
    )
    return layered(
        [*_turning_rule(turning_point), *lines],
        "Quantiles of the memorization score over the scored epochs.",
        HEIGHT,
    )


def loss_curves(losses: pl.DataFrame, last_epoch: int, turning_point: int | None) -> Chart:
    """Draw train and held-out loss over epochs."""
    colours = {"held out": GREEN, "train": SKY}
    table = (
        losses.rename({"held_out": "held out"})
        .unpivot(list(colours), index="epoch", variable_name="side")
        .drop_nulls()
    )
    if "held out" not in table["side"]:
        del colours["held out"]
    lines = two_lines(table, colours).encode(
        x=epochs(last_epoch),
        y=alt.Y("value:Q", title="loss (nats an observation)").scale(zero=False),
        tooltip=[
            alt.Tooltip("side:N", title="loss"),
            "epoch:Q",
            alt.Tooltip("value:Q", format=",.4~f", title="nats"),
        ],
    )
    return layered(
        [
            *_turning_rule(turning_point, "lowest held-out loss"),
            lines.mark_line(point=len(losses) <= 20),
        ],
        "Train and held-out loss over the epochs of training.",
        PANEL_HEIGHT,
    )


def memorization_by_log_likelihood(
    log_p_in: FloatArray, memorization: FloatArray, shown: pl.DataFrame, with_images: bool
) -> Chart:
    """Draw scores against log p in: all observations as a density, some as points.

    Args:
        log_p_in: (n,).
        memorization: (n,).
        shown: The points: `index`, `id`, `label`, `group`, `log_p_in`, `memorization`, `text`.
        with_images: True where the page gives each point an `image`.
    """
    looks = {"most memorized": (VERMILLION, "triangle-up"), "drawn at random": (BLUE, "circle")}
    groups = {name: looks[name] for name in shown["group"].unique(maintain_order=True)}
    colours = {name: colour for name, (colour, _) in groups.items()}
    shapes = {name: shape for name, (_, shape) in groups.items()}
    points = alt.Chart(shown).encode(
        x=alt.X("log_p_in:Q", title=LOG_P_IN),
        y=alt.Y("memorization:Q", title=SCORE),
        color=named(alt.Color, "group", colours),
        fill=named(alt.Fill, "group", colours),
        shape=named(alt.Shape, "group", shapes),
        tooltip=[
            *(["image:N"] if with_images else []),
            "id:N",
            "label:N",
            alt.Tooltip("text:N", title="score (nats)"),
            alt.Tooltip("log_p_in:Q", title="log p in", format=",.5~r"),
        ],
    )
    return layered(
        [
            density_layer((LOG_P_IN, log_p_in), (SCORE, memorization), (60, 40)),
            points.mark_point(size=34, strokeWidth=1.4, fillOpacity=0.25, opacity=0.95),
        ],
        "Memorization score against log-likelihood: counts in rectangles, and single points.",
        340,
    )


def log_likelihood_counts(log_p_in: FloatArray, highly: NDArray[np.bool_]) -> Chart:
    """Draw the counts of regular and highly memorized observations at each log p in."""
    count = alt.Y("count:Q", title=COUNT).scale(type="sqrt")
    tooltip = [alt.Tooltip("count:Q", title="observations")]
    return layered(
        grouped_bars(log_p_in, highly, BINS_OF_LOG_P, LOG_P_IN, count, tooltip),
        "Counts of regular and highly memorized observations by log-likelihood.",
        PANEL_HEIGHT,
    )


def log_likelihood_shares(log_p_in: FloatArray, highly: NDArray[np.bool_]) -> Chart:
    """Draw the share of highly memorized observations at each log p in."""
    table = shares_of_bins(log_p_in, highly, bin_edges(log_p_in, BINS_OF_LOG_P))
    base = alt.Chart(table).encode(
        x=alt.X("middle:Q", title=LOG_P_IN).scale(domain=domain(log_p_in)),
        y=alt.Y("value:Q", title="share highly memorized", axis=alt.Axis(format="%")),
    )
    tooltip = [
        alt.Tooltip("value:Q", format=".1%", title="share"),
        alt.Tooltip("chosen:Q", title="highly memorized"),
        alt.Tooltip("regular:Q", title="regular"),
    ]
    overall = alt.Chart(pl.DataFrame({"share": [float(highly.mean())]}))
    return layered(
        [
            overall.mark_rule(**DASHED).encode(y="share:Q"),
            *intervals(base, {"tooltip": tooltip}, color=VERMILLION),
        ],
        "Share of highly memorized observations by log-likelihood, with 95% intervals.",
        PANEL_HEIGHT,
    )


def _turning_rule(epoch: int | None, label: str = "") -> list[alt.Chart]:
    return [] if epoch is None else labelled_rule(epoch, label)
