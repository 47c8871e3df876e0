"""The charts of what each test on samples sees of what is memorized."""

from collections.abc import Mapping, Sequence

import altair as alt
import polars as pl

from memo.report.charts.encodings import DASHED, layered, named
from memo.report.charts.themes import BLUE, GREEN, VERMILLION, Chart
from memo.report.numbers import estimate
from memo.scores.relation import Interval

ROW = 46
"""Height of a test's row."""
OFFSET = 12
"""Distance between two marks of one row."""

KINDS = {"as measured": BLUE, "scores without noise": VERMILLION, "neither with noise": GREEN}
RECALLS = {"of the top 5%": BLUE, "of the top 1%": VERMILLION}


def rank_correlations(found: Mapping[str, Sequence[Interval | None]]) -> Chart:
    """Draw the rank correlations of each test's values with memorization.

    Args:
        found: By the words of tests, one for each of `KINDS`, None where it is not known.
    """
    return _rows(
        found,
        KINDS,
        ("rank correlation with memorization", "~f", [-1, 1]),
        [0.0],
        "Rank correlations of what each test says of records with their memorization.",
    )


def recalls(found: Mapping[str, Sequence[Interval | None]]) -> Chart:
    """Draw the share of the most memorized records that each test puts first.

    Args:
        found: By the words of tests, one for each of `RECALLS`, None where it is not known.
    """
    return _rows(
        found,
        RECALLS,
        ("most memorized that are found", "%", [0, 1]),
        [0.05, 0.01],
        "Share of the most memorized records that are among as many that each test puts first.",
    )


def _rows(
    found: Mapping[str, Sequence[Interval | None]],
    colours: Mapping[str, str],
    axis: tuple[str, str, list[float]],
    chance: Sequence[float],
    description: str,
) -> Chart:
    """Points and intervals, a row for each test, those of one test below each other.

    Args:
        found: As in `recalls`.
        colours: Of the kinds of intervals.
        axis: Title, format and ends of the axis.
        chance: Places on it that others are read against.
        description: For those who cannot see it.
    """
    title, form, ends = axis
    rows = [
        {"test": test, "kind": kind, "text": estimate(*one)} | one._asdict()
        for test, intervals in found.items()
        for kind, one in zip(colours, intervals, strict=True)
        if one is not None
    ]
    kinds = [kind for kind in colours if any(row["kind"] == kind for row in rows)]
    texts, numbers = ("test", "kind", "text"), ("value", "low", "high")
    columns: dict[str, pl.DataType] = {name: pl.String() for name in texts}
    columns |= {name: pl.Float64() for name in numbers}
    table = pl.DataFrame(rows, schema=columns)
    layers = [alt.Chart(pl.DataFrame({"at": chance})).mark_rule(**DASHED).encode(x="at:Q")]
    for place, kind in enumerate(kinds):
        shift = OFFSET * (place - (len(kinds) - 1) / 2)
        of_kind = table.filter(kind=kind)
        base = alt.Chart(of_kind).encode(
            y=alt.Y(
                "test:N",
                title=None,
                sort=list(found),
                axis=alt.Axis(labelLimit=230, labelPadding=8),
            ),
            color=named(alt.Color, "kind", {kind: colours[kind] for kind in kinds}),
            tooltip=["test:N", "kind:N", alt.Tooltip("text:N", title="[95% interval]")],
        )
        if of_kind["low"].count():
            bars = base.transform_filter("isValid(datum.low)")
            bars = bars.mark_rule(strokeWidth=1.6, yOffset=shift)
            layers.append(bars.encode(x="low:Q", x2="high:Q"))
        points = base.mark_point(filled=True, size=52, opacity=1, yOffset=shift)
        x = alt.X("value:Q", title=title, axis=alt.Axis(format=form))
        layers.append(points.encode(x=x.scale(domain=ends)))
    return layered(layers, description, ROW * max(1, len(found)))
