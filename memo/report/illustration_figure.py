"""What memorization is, and what it is not: densities in one or two dimensions."""

import altair as alt
import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.report.encodings import categories, layered
from memo.report.figures import Figure
from memo.report.numbers import number
from memo.report.page_data import Illustration, Overfitted
from memo.report.themes import BLUE, GREEN, GREY, VERMILLION, Chart
from memo.report.thumbnails import shading

__all__ = ["illustrated_figure"]

FloatArray = NDArray[np.float64]

HEIGHT = 270
LOCAL = 0.25
"""Memorization is called local where half of the others change by less than this share of it."""
DENSITY = "density (square-root scale)"


def illustrated_figure(data: Illustration) -> Figure:
    """Memorization of one observation beside overfitting to a few."""
    panels = _curves(data) if len(data.axes) == 1 else _maps(data)
    jagged = " Jags are errors of the estimates of log p." if data.estimated else ""
    shaded = "" if len(data.axes) == 1 else " Shading: the square root of the density."
    return Figure(
        "illustration",
        "What memorization is, and what it is not",
        panels,
        f"{_memorization(data)} {_overfitting(data)}{shaded}{jagged}",
        "Did the densities with and without the observation differ elsewhere as much as there, the "
        "difference would speak of training as such, and not of this observation.",
        beside=True,
    )


def _memorization(data: Illustration) -> str:
    change = _at_points(data, data.log_p_with) - _at_points(data, data.log_p_without)
    elsewhere = float(np.median(np.abs(change[1:])))
    kind = "the density" if data.models == 1 else f"the mean density of {data.models} models"
    return (
        f"Memorization: {kind} trained with the most memorized observation, {data.name} (circled), "
        f"and {kind} trained without it. There log p differs by {number(float(change[0]))} nats, "
        f"at half of the other observations by less than {number(elsewhere)}: "
        + (
            "memorization is local."
            if elsewhere < LOCAL * change[0]
            else "not local here, so that other causes than this observation are at work."
        )
    )


def _overfitting(data: Illustration) -> str:
    if isinstance(data.overfitted, str):
        return f"Overfitting is not shown, since the model cannot be fitted: {data.overfitted}."
    log_p = _at_points(data, data.overfitted.log_p)[1:]
    few, others = np.split(log_p, [data.overfitted.count])
    return (
        "Overfitting, which it is not: the same training on only "
        f"{data.overfitted.count} other observations. Over these log p is "
        f"{number(float(few.mean()))} nats in the mean, over those that it did not see "
        f"{number(float(others.mean()))}: a gap between all that was seen and all that was not."
    )


def _curves(data: Illustration) -> list[Chart]:
    columns = {"with": data.log_p_with, "without": data.log_p_without}
    charts = [
        _curve_chart(
            data,
            columns,
            {"with": VERMILLION, "without": BLUE},
            [_rug(data.points[1:], GREY), _rule(data)],
            "Memorization",
            f"Density with and without the observation {data.name}.",
        )
    ]
    if isinstance(data.overfitted, Overfitted):
        few = data.points[1 : 1 + data.overfitted.count]
        charts.append(
            _curve_chart(
                data,
                {"on all": data.log_p_with, "on few": data.overfitted.log_p},
                {"on all": VERMILLION, "on few": GREEN},
                [_rug(few, GREEN)],
                "Overfitting",
                "Density trained on all observations and on a few.",
            )
        )
    return charts


def _curve_chart(
    data: Illustration,
    log_p: dict[str, FloatArray],
    colours: dict[str, str],
    marks: list[alt.Chart],
    title: str,
    description: str,
) -> Chart:
    (axis,) = data.axes
    table = pl.concat(
        pl.DataFrame({"x": axis, "density": np.exp(values[: len(axis)])}).with_columns(
            side=pl.lit(side)
        )
        for side, values in log_p.items()
    )
    lines = (
        alt.Chart(table)
        .mark_line(strokeWidth=1.8)
        .encode(
            x=_axis("x", (data.titles or ["value"])[0], axis),
            y=alt.Y("density:Q", title=DENSITY).scale(type="sqrt"),
            color=categories("side", colours),
            strokeDash=alt.StrokeDash(
                "side:N", scale=alt.Scale(domain=list(colours), range=[[1, 0], [5, 3]]), title=None
            ),
        )
    )
    return layered([*marks, lines], description, HEIGHT, title)


def _maps(data: Illustration) -> list[Chart]:
    grid = (len(data.axes[0]), len(data.axes[1]))
    inside, outside = (
        np.exp(log_p[: grid[0] * grid[1]]).reshape(grid)
        for log_p in (data.log_p_with, data.log_p_without)
    )
    most = max(inside.max(), outside.max())
    seen = _scatter(data.points[1:], GREY)
    charts = [
        _map(data, density / most, colour, [seen, _circle(data)], title)
        for density, colour, title in (
            (inside, VERMILLION, f"Trained with {data.name}"),
            (outside, BLUE, f"Trained without {data.name}"),
        )
    ]
    if isinstance(data.overfitted, Overfitted):
        few = _scatter(data.points[1 : 1 + data.overfitted.count], GREEN)
        density = np.exp(data.overfitted.log_p[: grid[0] * grid[1]]).reshape(grid)
        title = f"Overfitted to {data.overfitted.count} others"
        charts.append(_map(data, density / density.max(), GREEN, [few], title))
    return charts


def _map(
    data: Illustration, share: FloatArray, colour: str, marks: list[alt.Chart], title: str
) -> Chart:
    """A density as shading, by the square root of its share of the highest."""
    first, second = data.axes
    titles = data.titles or ["first column", "second column"]
    table = pl.DataFrame(
        {
            "x": [first[0]],
            "x_end": [first[-1]],
            "y": [second[0]],
            "y_end": [second[-1]],
            "url": [shading(np.sqrt(share.T[::-1]), colour)],
        }
    )
    image = (
        alt.Chart(table)
        .mark_image(aspect=False)
        .encode(
            x=_axis("x", titles[0], first),
            x2="x_end:Q",
            y=_axis("y", titles[1], second),
            y2="y_end:Q",
            url="url:N",
        )
    )
    return layered([image, *marks], f"{title}: density in two dimensions.", HEIGHT, title)


def _axis(column: str, title: str, values: FloatArray) -> alt.X | alt.Y:
    channel = alt.X if column == "x" else alt.Y
    scale = alt.Scale(domain=[values[0], values[-1]], nice=False, zero=False)
    return channel(f"{column}:Q", title=title, scale=scale, axis=alt.Axis(tickCount=5))


def _rug(points: FloatArray, colour: str) -> alt.Chart:
    chart: alt.Chart = (
        alt.Chart(pl.DataFrame({"x": points[:, 0]}))
        .mark_rule(color=colour, opacity=0.6, strokeWidth=1)
        .encode(x="x:Q", y=alt.value(HEIGHT - 9), y2=alt.value(HEIGHT))
    )
    return chart


def _rule(data: Illustration) -> alt.Chart:
    chart: alt.Chart = (
        alt.Chart(pl.DataFrame({"x": data.points[:1, 0]}))
        .mark_point(color=VERMILLION, size=90, strokeWidth=1.8, opacity=1)
        .encode(x="x:Q", y=alt.value(HEIGHT - 5))
    )
    return chart


def _scatter(points: FloatArray, colour: str) -> alt.Chart:
    chart: alt.Chart = (
        alt.Chart(pl.DataFrame({"x": points[:, 0], "y": points[:, 1]}))
        .mark_point(color=colour, size=12, strokeWidth=1, opacity=0.8)
        .encode(x="x:Q", y="y:Q")
    )
    return chart


def _circle(data: Illustration) -> alt.Chart:
    chart: alt.Chart = (
        alt.Chart(pl.DataFrame({"x": data.points[:1, 0], "y": data.points[:1, 1]}))
        .mark_point(color=VERMILLION, size=130, strokeWidth=2, opacity=1)
        .encode(x="x:Q", y="y:Q")
    )
    return chart


def _at_points(data: Illustration, log_p: FloatArray) -> FloatArray:
    return log_p[-len(data.points) :]
