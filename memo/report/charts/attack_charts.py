"""The charts of membership inference: ROC curves, and risk against memorization."""

from collections.abc import Mapping, Sequence

import altair as alt
import polars as pl

from memo.report.charts.encodings import (
    DASHED,
    SCORE,
    intervals,
    layered,
    named,
    range_tooltips,
)
from memo.report.charts.themes import BLUE, CATEGORIES, VERMILLION, Chart
from memo.report.numbers import interval
from memo.scores.relation import MemorizationBin

FALSE = "non-members called members (false positive rate)"
TRUE = "members found"
RISK = "share of models in which it is found"
HEIGHT = 320
LOWEST = 1e-4
"""Lowest rate of either axis."""


def roc_curves(points: pl.DataFrame, fewest: float, primary: str) -> Chart:
    """Draw ROC curves on logarithmic axes.

    Args:
        points: `attack`, `fpr` and `tpr` of each point, every attack's in ascending order.
        fewest: The rate of one false positive; axes begin there, or at `LOWEST`.
        primary: The attack whose line is the thickest.
    """
    start = max(fewest, LOWEST)
    names = points["attack"].unique(maintain_order=True).to_list()
    others = [colour for colour in CATEGORIES if colour != VERMILLION]
    colours: Mapping[str, str] = dict(zip(names, [VERMILLION, *others], strict=False))
    shown = points.filter(pl.col("fpr") >= start).with_columns(pl.col("tpr").clip(start))
    guess = pl.DataFrame({"fpr": [start, 1.0], "tpr": [start, 1.0]})
    x = alt.X("fpr:Q", title=FALSE, axis=alt.Axis(format="%", tickCount=4))
    y = alt.Y("tpr:Q", title=TRUE, axis=alt.Axis(format="%", tickCount=4))
    scale = alt.Scale(type="log", domain=[start, 1.0])
    lines = alt.Chart(shown).encode(
        x=x.scale(scale),
        y=y.scale(scale),
        color=named(alt.Color, "attack", colours).legend(columns=4),
        tooltip=[
            alt.Tooltip("attack:N"),
            alt.Tooltip("fpr:Q", format=".3~%", title="false positives"),
            alt.Tooltip("tpr:Q", format=".3~%", title=TRUE),
        ],
    )
    return layered(
        [
            alt.Chart(guess).mark_line(**DASHED).encode(x=x.scale(scale), y=y.scale(scale)),
            lines.transform_filter(alt.datum.attack != primary).mark_line(strokeWidth=1.3),
            lines.transform_filter(alt.datum.attack == primary).mark_line(strokeWidth=2.4),
        ],
        "ROC curves of the attacks on logarithmic axes, beside guessing.",
        HEIGHT,
    )


def risk_by_memorization(bins: Sequence[MemorizationBin], fpr: float) -> Chart:
    """Draw the mean risk of records in bins of the score.

    Args:
        bins: Mean risks as `MemorizationBin.ratio`.
        fpr: The rate at which a record is found that makes no difference.
    """
    rows = [
        {"start": b.start, "end": b.end, "middle": b.middle, "count": b.count}
        | b.ratio._asdict()
        | {"text": interval(*b.ratio)}
        for b in bins
    ]
    base = alt.Chart(pl.DataFrame(rows, infer_schema_length=None)).encode(
        x=alt.X("middle:Q", title=SCORE).scale(zero=False),
        y=alt.Y("value:Q", title=RISK, axis=alt.Axis(format="%")),
    )
    tooltip = [alt.Tooltip("text:N", title="mean share"), *range_tooltips("scores from (nats)")]
    return layered(
        [
            alt.Chart(pl.DataFrame({"at": [fpr]})).mark_rule(**DASHED).encode(y="at:Q"),
            base.mark_rule(color=BLUE, opacity=0.4).encode(x="start:Q", x2="end:Q"),
            *intervals(base, {"tooltip": tooltip}, color=BLUE),
        ],
        "Mean share of models in which records are found, in bins of the memorization score.",
        240,
    )
