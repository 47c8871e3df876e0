"""The charts of several experiments."""

from collections.abc import Sequence

import altair as alt
import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.report.charts.binning import bin_edges
from memo.report.charts.encodings import (
    DASHED,
    SCORE,
    curves,
    density_layer,
    domain,
    layered,
    named,
    statistic_label,
    with_unit,
)
from memo.report.charts.themes import BLUE, CATEGORIES, GREY, ORANGE, Chart
from memo.report.numbers import estimate
from memo.report.page_data import FrontierPoint
from memo.scores.statistics import STATISTICS

FloatArray = NDArray[np.float64]

HEIGHT = 240
PANEL_HEIGHT = 190
DASHES = ([1, 0], [6, 2], [2, 2], [8, 3, 2, 3])
POINTS = 200
"""Points of each curve of exceedance."""
LABEL_SIZE = (0.1, 0.035)
"""Width and height that the name of a point takes, as shares of the chart's."""


def overlaid_distributions(scores: dict[str, FloatArray]) -> Chart:
    """Draw outlines of the histograms of several experiments, their 95% quantiles marked."""
    edges = bin_edges(np.concatenate(list(scores.values())))
    outlines = pl.concat([_outline(name, m, edges) for name, m in scores.items()])
    levels = [float(np.quantile(m, 0.95)) for m in scores.values()]
    share = alt.Y("share:Q", title="share (square-root scale)", axis=alt.Axis(format="%"))
    lines = alt.Chart(outlines).encode(
        *_by_experiment(list(scores)), x=_score_axis("start", scores), y=share.scale(type="sqrt")
    )
    rules = alt.Chart(pl.DataFrame({"experiment": list(scores), "value": levels})).encode(
        *_by_experiment(list(scores)),
        x=_score_axis("value", scores),
        tooltip=["experiment:N", alt.Tooltip("value:Q", format=".3~f", title="95% quantile")],
    )
    return layered(
        [
            rules.mark_rule(strokeWidth=1.5),
            lines.mark_line(interpolate="step-after", strokeWidth=1.8),
        ],
        "Distributions of the memorization score of each experiment, 95% quantiles marked.",
        HEIGHT,
    )


def exceedance(scores: dict[str, FloatArray]) -> Chart:
    """Draw the share of observations whose score exceeds each value, on a logarithmic scale."""
    table = pl.concat([_exceeding(name, m) for name, m in scores.items()])
    least = 1 / max(len(m) for m in scores.values())
    powers = 10.0 ** np.arange(0, np.floor(np.log10(least)) - 1, -1)
    axis = alt.Axis(format="~%", values=powers.tolist())
    scale = alt.Scale(type="log", domain=[least / 1.5, 1], nice=False)
    lines = alt.Chart(table).encode(
        *_by_experiment(list(scores)),
        x=_score_axis("value", scores),
        y=alt.Y("share:Q", title="share above (log scale)", axis=axis, scale=scale),
    )
    return layered(
        [lines.mark_line(interpolate="step-before", strokeWidth=1.8)],
        "Share of observations whose score exceeds each value.",
        HEIGHT,
    )


def quantile_curves_by_experiment(
    quantiles: dict[str, pl.DataFrame], statistic: str, order: Sequence[str]
) -> Chart:
    """Draw one statistic of the scores over epochs, for each experiment.

    Args:
        quantiles: As in `ReportData`, by experiment.
        statistic: A key of `memo.scores.STATISTICS`.
        order: All experiments of the page, so that each keeps its colour.
    """
    title = with_unit(statistic_label(statistic), STATISTICS[statistic].unit)
    table = pl.concat(
        curve.filter(statistic=statistic).with_columns(experiment=pl.lit(name))
        for name, curve in quantiles.items()
    )
    last = int(table["epoch"].to_numpy().max())
    return layered(
        curves(table, "experiment", title, last, *_by_experiment(order)),
        f"The {title} of the memorization score over epochs, for each experiment.",
        PANEL_HEIGHT,
    )


def agreement(first: tuple[str, FloatArray], second: tuple[str, FloatArray]) -> Chart:
    """Draw scores of the same observations under two experiments, and the line of agreement."""
    x, y = ((f"{name} (nats)", values) for name, values in (first, second))
    ends = domain(x[1], y[1])
    line = alt.Chart(pl.DataFrame({"x": ends, "y": ends})).mark_line(clip=True, **DASHED)
    return layered(
        [density_layer(x, y, (56, 40)), line.encode(x="x:Q", y="y:Q")],
        f"Memorization score under {first[0]} against that under {second[0]}.",
        320,
    )


def frontier(points: Sequence[FrontierPoint], baseline: str, statistic: str, unit: str) -> Chart:
    """Draw memorization against held-out likelihood; the points that nothing beats joined."""
    table = pl.DataFrame(
        [_frontier_row(point, baseline) for point in points], infer_schema_length=None
    ).with_columns(labelled=pl.Series(_labelled(points, baseline)))
    base = alt.Chart(table).encode(
        x=alt.X("memorization:Q", title=with_unit(statistic, unit)).scale(zero=False),
        y=alt.Y("held_out:Q", title="held-out log-likelihood (nats)").scale(zero=False),
    )
    best = base.transform_filter("datum.kind == 'nothing beats it'")
    error = base.mark_rule(color=GREY, strokeWidth=1)
    kinds = {"nothing beats it": BLUE, "something beats it": ORANGE}
    marks = base.mark_point(filled=True, size=70, opacity=1).encode(
        color=named(alt.Color, "kind", kinds),
        tooltip=[
            "experiment:N",
            alt.Tooltip("memorization_text:N", title=statistic),
            alt.Tooltip("held_out_text:N", title="held-out log-likelihood"),
            "verdict:N",
        ],
    )
    names = base.transform_filter("datum.labelled").mark_text(
        align="left", dx=7, dy=-7, fontSize=11
    )
    return layered(
        [
            best.mark_line(**DASHED).encode(order=alt.Order("memorization:Q")),
            error.encode(x="memorization_low:Q", x2="memorization_high:Q"),
            error.encode(y="held_out_low:Q", y2="held_out_high:Q"),
            marks,
            names.encode(text="experiment:N"),
        ],
        f"{statistic} of each experiment against its held-out log-likelihood.",
        380,
    )


def _labelled(points: Sequence[FrontierPoint], baseline: str) -> list[bool]:
    """Tell which points have room for their name; undominated ones and the baseline come first."""
    rows = [_frontier_row(p, baseline) for p in points]
    low, places, high = (
        np.array([[row[f"memorization{end}"], row[f"held_out{end}"]] for row in rows], np.float64)
        for end in ("_low", "", "_high")
    )
    spread = high.max(0) - low.min(0)
    places = (places - low.min(0)) / np.where(spread > 0, spread, 1)
    shown: list[int] = []
    for place in sorted(
        range(len(points)), key=lambda i: (not points[i].undominated, points[i].name != baseline, i)
    ):
        gaps = np.abs(places[shown] - places[place])
        if not (gaps < LABEL_SIZE).all(1).any():
            shown.append(place)
    return [place in shown for place in range(len(points))]


def _frontier_row(point: FrontierPoint, baseline: str) -> dict[str, str | float]:
    row: dict[str, str | float] = {
        "experiment": point.name,
        "kind": "nothing beats it" if point.undominated else "something beats it",
        "verdict": point.verdict or f"{baseline} is the baseline",
    }
    for name, found in (("memorization", point.memorization), ("held_out", point.held_out)):
        row[name] = found.value
        row[f"{name}_low"] = found.value if found.low is None else found.low
        row[f"{name}_high"] = found.value if found.high is None else found.high
        row[f"{name}_text"] = estimate(found.value, found.low, found.high, found.unit)
    return row


def _by_experiment(names: Sequence[str]) -> tuple[alt.Color, alt.StrokeDash]:
    colours = {name: CATEGORIES[i % len(CATEGORIES)] for i, name in enumerate(names)}
    dashes = {name: DASHES[i % len(DASHES)] for i, name in enumerate(names)}
    return named(alt.Color, "experiment", colours), named(alt.StrokeDash, "experiment", dashes)


def _score_axis(column: str, scores: dict[str, FloatArray]) -> alt.X:
    return alt.X(f"{column}:Q", title=SCORE).scale(domain=domain(*scores.values()), nice=True)


def _outline(name: str, values: FloatArray, edges: FloatArray) -> pl.DataFrame:
    """Return a histogram as a line that starts and ends on the axis."""
    counts, _ = np.histogram(values, edges)
    first, last = np.flatnonzero(counts)[[0, -1]]
    share = np.concatenate([[0.0], counts[first : last + 1] / len(values), [0.0]])
    start = np.concatenate([[edges[first]], edges[first : last + 2]])
    return pl.DataFrame({"start": start, "share": share}).with_columns(experiment=pl.lit(name))


def _exceeding(name: str, values: FloatArray) -> pl.DataFrame:
    n = len(values)
    ranks = np.unique(np.geomspace(1, n, POINTS).round().astype(np.int64))
    exceeded = {"value": np.sort(values)[::-1][ranks - 1], "share": ranks / n}
    return pl.DataFrame(exceeded).with_columns(experiment=pl.lit(name))
