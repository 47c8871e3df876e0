"""The charts of densities in one or two dimensions, with and without an observation."""

from typing import Any

import altair as alt
import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.report.charts.encodings import layered, two_lines
from memo.report.charts.themes import BLUE, GREEN, GREY, VERMILLION, Chart
from memo.report.page_data import Illustration, Overfitted
from memo.report.thumbnails import shading

FloatArray = NDArray[np.float64]

HEIGHT = 270
LEAST = -1e300
"""Log densities that are taken for no lower: of differences of infinities nothing is known."""
CIRCLED: dict[str, Any] = {"color": VERMILLION, "size": 110, "strokeWidth": 2, "opacity": 1}
SCATTERED: dict[str, Any] = {"size": 12, "strokeWidth": 1, "opacity": 0.8}


def density_charts(data: Illustration) -> list[Chart]:
    """Draw memorization of one observation, then overfitting to a few, as curves or as maps."""
    return _curves(data) if len(data.axes) == 1 else _maps(data)


def _curves(data: Illustration) -> list[Chart]:
    circle = alt.Chart(pl.DataFrame({"x": data.points[:1, 0]})).mark_point(**CIRCLED)
    charts = [
        _curve_chart(
            data,
            {"with": (data.log_p_with, VERMILLION), "without": (data.log_p_without, BLUE)},
            [_rug(data.points[1:], GREY), circle.encode(x="x:Q", y=alt.value(HEIGHT - 5))],
            "Memorization",
            f"Density with and without the observation {data.name}.",
        )
    ]
    if isinstance(data.overfitted, Overfitted):
        few = data.points[1 : 1 + data.overfitted.count]
        charts.append(
            _curve_chart(
                data,
                {"on all": (data.log_p_with, VERMILLION), "on few": (data.overfitted.log_p, GREEN)},
                [_rug(few, GREEN)],
                "Overfitting",
                "Density trained on all observations and on a few.",
            )
        )
    return charts


def _curve_chart(
    data: Illustration,
    sides: dict[str, tuple[FloatArray, str]],
    marks: list[alt.Chart],
    title: str,
    description: str,
) -> Chart:
    """Draw the densities of two sides, given by log p and a colour."""
    (axis,) = data.axes
    table = pl.concat(
        pl.DataFrame({"x": axis, "density": np.exp(log_p[: len(axis)])}).with_columns(
            side=pl.lit(side)
        )
        for side, (log_p, _) in sides.items()
    )
    colours = {side: colour for side, (_, colour) in sides.items()}
    lines = two_lines(table, colours).encode(
        x=alt.X("x:Q", **_axis((data.titles or ["value"])[0], axis)),
        y=alt.Y("density:Q", title="density (square-root scale)").scale(type="sqrt"),
    )
    return layered([*marks, lines.mark_line(strokeWidth=1.8)], description, HEIGHT, title)


def _rug(points: FloatArray, colour: str) -> alt.Chart:
    base = alt.Chart(pl.DataFrame({"x": points[:, 0]})).encode(
        x="x:Q", y=alt.value(HEIGHT - 9), y2=alt.value(HEIGHT)
    )
    chart: alt.Chart = base.mark_rule(color=colour, opacity=0.6, strokeWidth=1)
    return chart


def _maps(data: Illustration) -> list[Chart]:
    inside, outside = (_on_grid(data, log_p) for log_p in (data.log_p_with, data.log_p_without))
    most = max(inside.max(), outside.max())  # of both, so that they can be compared
    others = _places(data.points[1:]).mark_point(color=GREY, **SCATTERED)
    marks = [others, _places(data.points[:1]).mark_point(**CIRCLED)]
    charts = [
        _map(data, np.exp(inside - most), VERMILLION, marks, f"Trained with {data.name}"),
        _map(data, np.exp(outside - most), BLUE, marks, f"Trained without {data.name}"),
    ]
    if isinstance(data.overfitted, Overfitted):
        count = data.overfitted.count
        few = _places(data.points[1 : 1 + count]).mark_point(color=GREEN, **SCATTERED)
        log_p = _on_grid(data, data.overfitted.log_p)
        title = f"Overfitted to {count} others"
        charts.append(_map(data, np.exp(log_p - log_p.max()), GREEN, [few], title))
    return charts


def _on_grid(data: Illustration, log_p: FloatArray) -> FloatArray:
    """log p in each cell of the grid: at its place, or at the highest point in it.

    Peaks that are narrower than a cell lie between the grid's places. In logarithms, since far from
    all of them densities are below any number but 0.
    """
    shape = [len(axis) for axis in data.axes]
    cells = log_p[: np.prod(shape)].reshape(shape).copy()
    places = [
        np.clip(np.rint((point - axis[0]) / (axis[1] - axis[0])), 0, len(axis) - 1).astype(int)
        for point, axis in zip(data.points.T, data.axes, strict=True)
    ]
    np.maximum.at(cells, tuple(places), log_p[np.prod(shape) :])
    return np.maximum(cells, LEAST)


def _map(
    data: Illustration, share: FloatArray, colour: str, marks: list[alt.Chart], title: str
) -> Chart:
    """Draw a density as shading, by the square root of its share of the highest."""
    first, second = data.axes
    titles = data.titles or ["first column", "second column"]
    corners = {"x": [first[0]], "x_end": [first[-1]], "y": [second[0]], "y_end": [second[-1]]}
    url = pl.lit(shading(np.sqrt(share.T[::-1]), colour))
    image = alt.Chart(pl.DataFrame(corners).with_columns(url=url)).encode(
        x=alt.X("x:Q", **_axis(titles[0], first)),
        x2="x_end:Q",
        y=alt.Y("y:Q", **_axis(titles[1], second)),
        y2="y_end:Q",
        url="url:N",
    )
    layers = [image.mark_image(aspect=False), *marks]
    return layered(layers, f"{title}: density in two dimensions.", HEIGHT, title)


def _places(points: FloatArray) -> alt.Chart:
    return alt.Chart(pl.DataFrame(points, ["x", "y"], orient="row")).encode(x="x:Q", y="y:Q")


def _axis(title: str, values: FloatArray) -> dict[str, Any]:
    scale = alt.Scale(domain=[values[0], values[-1]], nice=False, zero=False)
    return {"title": title, "scale": scale, "axis": alt.Axis(tickCount=5)}
