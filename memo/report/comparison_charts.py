"""The charts of several experiments, one function each."""

from collections.abc import Sequence

import altair as alt
import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.report.binning import bin_edges
from memo.report.encodings import (
    SCORE,
    categories,
    density_layer,
    domain,
    epochs,
    error_bars,
    layered,
    statistic_label,
    with_interval,
)
from memo.report.numbers import estimate
from memo.report.page_data import FrontierPoint
from memo.report.themes import BLUE, CATEGORIES, GREY, ORANGE, Chart

__all__ = [
    "agreement",
    "exceedance",
    "frontier",
    "overlaid_distributions",
    "quantile_curves_by_experiment",
]

FloatArray = NDArray[np.float64]

HEIGHT = 240
PANEL_HEIGHT = 190

LABEL_SIZE = (0.1, 0.035)
"""Width and height that the name of a point takes, as shares of the chart's."""


def overlaid_distributions(scores: dict[str, FloatArray]) -> Chart:
    """Outlines of the histograms of several experiments, their 95% quantiles marked."""
    edges = bin_edges(np.concatenate(list(scores.values())))
    outlines = pl.concat([_outline(name, m, edges) for name, m in scores.items()])
    share = alt.Y("share:Q", title="share (square-root scale)", axis=alt.Axis(format="%"))
    lines = (
        _by_experiment(outlines, list(scores))
        .mark_line(interpolate="step-after", strokeWidth=1.8)
        .encode(x=_score_axis("start", scores), y=share.scale(type="sqrt"))
    )
    levels = [float(np.quantile(m, 0.95)) for m in scores.values()]
    marks = pl.DataFrame({"experiment": list(scores), "value": levels})
    rules = (
        _by_experiment(marks, list(scores))
        .mark_rule(strokeWidth=1.5)
        .encode(
            x=_score_axis("value", scores),
            tooltip=["experiment:N", alt.Tooltip("value:Q", format=".3~f", title="95% quantile")],
        )
    )
    return layered(
        [rules, lines],
        "Distributions of the memorization score of each experiment, 95% quantiles marked.",
        HEIGHT,
    )


def exceedance(scores: dict[str, FloatArray]) -> Chart:
    """Share of observations whose score exceeds each value, on a logarithmic scale."""
    table = pl.concat([_exceeding(name, m) for name, m in scores.items()])
    least = 1 / max(len(m) for m in scores.values())
    powers = 10.0 ** np.arange(0, np.floor(np.log10(least)) - 1, -1)
    share = alt.Y(
        "share:Q",
        title="share above (log scale)",
        axis=alt.Axis(format="~%", values=powers.tolist()),
    )
    lines = (
        _by_experiment(table, list(scores))
        .mark_line(interpolate="step-before", strokeWidth=1.8)
        .encode(
            x=_score_axis("value", scores),
            y=share.scale(type="log", domain=[least / 1.5, 1], nice=False),
        )
    )
    return layered([lines], "Share of observations whose score exceeds each value.", HEIGHT)


def quantile_curves_by_experiment(
    quantiles: dict[str, pl.DataFrame], statistic: str, order: Sequence[str]
) -> Chart:
    """One statistic of the scores over epochs, for each experiment.

    Args:
        quantiles: As in `ReportData`, by experiment.
        statistic: Which one.
        order: All experiments of the page, so that each keeps its colour.
    """
    title = f"{statistic_label(statistic)} (nats)"
    table = pl.concat(
        [
            with_interval(curve.filter(pl.col("statistic") == statistic)).with_columns(
                experiment=pl.lit(name)
            )
            for name, curve in quantiles.items()
        ]
    )
    last = int(table["epoch"].to_numpy().max())
    base = _by_experiment(table, order).encode(x=epochs(last), y=alt.Y("value:Q", title=title))
    points = base.mark_point(filled=True, size=38, opacity=1).encode(
        tooltip=["experiment:N", "epoch:Q", alt.Tooltip("text:N", title=title)]
    )
    return layered(
        [base.mark_line(), *error_bars(base, table, title), points],
        f"The {title} of the memorization score over epochs, for each experiment.",
        PANEL_HEIGHT,
    )


def agreement(first: tuple[str, FloatArray], second: tuple[str, FloatArray]) -> Chart:
    """Scores of the same observations under two experiments, and the line where they agree."""
    titled = [(f"{name} (nats)", values) for name, values in (first, second)]
    ends = domain(*(values for _, values in titled))
    line = (
        alt.Chart(pl.DataFrame({"x": ends, "y": ends}))
        .mark_line(color=GREY, strokeDash=[4, 3], strokeWidth=1.2, clip=True)
        .encode(x="x:Q", y="y:Q")
    )
    return layered(
        [density_layer(titled[0], titled[1], (56, 40)), line],
        f"Memorization score under {first[0]} against that under {second[0]}.",
        320,
    )


def frontier(points: Sequence[FrontierPoint], baseline: str, statistic: str) -> Chart:
    """Memorization against held-out likelihood; the points that nothing beats joined."""
    table = pl.DataFrame(
        [_frontier_row(point, baseline) for point in points], infer_schema_length=None
    ).with_columns(labelled=pl.Series(_labelled(points, baseline)))
    x_title, y_title = f"{statistic} (nats)", "held-out log-likelihood (nats)"
    x = alt.X("memorization:Q", title=x_title).scale(zero=False)
    y = alt.Y("held_out:Q", title=y_title).scale(zero=False)
    base = alt.Chart(table)
    best = base.transform_filter("datum.kind == 'nothing beats it'")
    joined = best.mark_line(color=GREY, strokeDash=[4, 3], strokeWidth=1.2).encode(
        x=x, y=y, order=alt.Order("memorization:Q")
    )
    bars = [
        base.mark_rule(color=GREY, strokeWidth=1).encode(
            x=alt.X("low:Q", title=x_title), x2="high:Q", y=y
        ),
        base.mark_rule(color=GREY, strokeWidth=1).encode(
            x=x, y=alt.Y("held_out_low:Q", title=y_title), y2="held_out_high:Q"
        ),
    ]
    kinds = {"nothing beats it": BLUE, "something beats it": ORANGE}
    marks = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=x,
        y=y,
        color=categories("kind", kinds),
        tooltip=[
            "experiment:N",
            alt.Tooltip("memorization_text:N", title=statistic),
            alt.Tooltip("held_out_text:N", title="held-out log-likelihood"),
            "verdict:N",
        ],
    )
    labelled = base.transform_filter("datum.labelled")
    names = labelled.mark_text(align="left", dx=7, dy=-7, fontSize=11).encode(
        x=x, y=y, text="experiment:N"
    )
    return layered(
        [joined, *bars, marks, names],
        f"{statistic} of each experiment against its held-out log-likelihood.",
        380,
    )


def _labelled(points: Sequence[FrontierPoint], baseline: str) -> list[bool]:
    """Which points have room for their name; those that nothing beats, and the baseline, first."""
    places = np.array([(p.memorization.value, p.held_out.value) for p in points])
    spread = np.ptp(places, axis=0)
    places = (places - places.min(0)) / np.where(spread > 0, spread, 1)
    first = sorted(
        range(len(points)),
        key=lambda i: (not points[i].undominated, points[i].name != baseline, i),
    )
    shown: list[int] = []
    for place in first:
        gaps = np.abs(places[shown] - places[place])
        if not (gaps < LABEL_SIZE).all(1).any():
            shown.append(place)
    return [place in shown for place in range(len(points))]


def _frontier_row(point: FrontierPoint, baseline: str) -> dict[str, str | float | None]:
    memorization, held_out = point.memorization, point.held_out
    return {
        "experiment": point.name,
        "kind": "nothing beats it" if point.undominated else "something beats it",
        "memorization": memorization.value,
        "low": memorization.value - (memorization.std_error or 0.0),
        "high": memorization.value + (memorization.std_error or 0.0),
        "held_out": held_out.value,
        "held_out_low": held_out.value - (held_out.std_error or 0.0),
        "held_out_high": held_out.value + (held_out.std_error or 0.0),
        "memorization_text": estimate(memorization.value, memorization.std_error, "nats"),
        "held_out_text": estimate(held_out.value, held_out.std_error, "nats"),
        "verdict": point.verdict or f"{baseline} is the baseline",
    }


def _by_experiment(table: pl.DataFrame, names: Sequence[str]) -> alt.Chart:
    dashes = ([1, 0], [6, 2], [2, 2], [8, 3, 2, 3])
    colours = [CATEGORIES[i % len(CATEGORIES)] for i in range(len(names))]
    patterns = [dashes[i % len(dashes)] for i in range(len(names))]
    chart: alt.Chart = alt.Chart(table).encode(
        color=alt.Color(
            "experiment:N", scale=alt.Scale(domain=list(names), range=colours), title=None
        ),
        strokeDash=alt.StrokeDash(
            "experiment:N", scale=alt.Scale(domain=list(names), range=patterns), title=None
        ),
    )
    return chart


def _score_axis(column: str, scores: dict[str, FloatArray]) -> alt.X:
    return alt.X(f"{column}:Q", title=SCORE).scale(domain=domain(*scores.values()), nice=True)


def _outline(name: str, values: FloatArray, edges: FloatArray) -> pl.DataFrame:
    """A histogram as a line that starts and ends on the axis."""
    counts, _ = np.histogram(values, edges)
    first, last = np.flatnonzero(counts)[[0, -1]]
    share = np.concatenate([[0.0], counts[first : last + 1] / len(values), [0.0]])
    start = np.concatenate([[edges[first]], edges[first : last + 2]])
    return pl.DataFrame({"start": start, "share": share}).with_columns(experiment=pl.lit(name))


def _exceeding(name: str, values: FloatArray) -> pl.DataFrame:
    descending = np.sort(values)[::-1]
    n = len(values)
    ranks = np.unique(np.geomspace(1, n, 200).round().astype(np.int64))
    return pl.DataFrame({"value": descending[ranks - 1], "share": ranks / n}).with_columns(
        experiment=pl.lit(name)
    )
