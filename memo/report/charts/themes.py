"""The look of every chart: colours, type, and what a spec needs to be drawn on page or file."""

from typing import Any, TypeAlias

import altair as alt

from memo.errors import printable

Chart: TypeAlias = alt.Chart | alt.LayerChart | alt.VConcatChart | alt.HConcatChart

# Okabe & Ito (2008): distinct for every common kind of colour blindness, on white and on black.
BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREEN = "#009E73"
ORANGE = "#E69F00"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
GREY = "#8A8A8A"
CATEGORIES = [BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, GREY]

VEGA_LITE = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])

FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
FILE_WIDTH = 640
BESIDE_WIDTH = 280
"""Width of each panel where panels stand side by side."""

CONFIG: dict[str, Any] = {
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "labelColor": "#444444",
        "titleColor": "#222222",
        "domainColor": "#888888",
        "tickColor": "#888888",
        "gridColor": "#E4E4E4",
        "tickSize": 4,
        "labelFlush": False,
    },
    "axisX": {"grid": False, "tickCount": 8},
    "axisY": {"tickCount": 5, "domain": False, "ticks": False, "minExtent": 38},
    "legend": {
        "orient": "top",
        "title": None,
        "labelFontSize": 12,
        "labelColor": "#444444",
        "labelLimit": 280,
        "symbolSize": 90,
        "columnPadding": 14,
        "offset": 8,
    },
    "title": {
        "fontSize": 12.5,
        "fontWeight": "normal",
        "color": "#222222",
        "anchor": "start",
        "offset": 8,
    },
    "text": {"font": FONT, "fontSize": 12, "color": "#222222"},
}


def page_spec(chart: Chart) -> dict[str, Any]:
    """Return the spec of a chart that takes the width of the page and lets its colour through."""
    return _finished(chart.properties(width="container"), background=None)


def file_spec(panels: list[Chart], *, beside: bool = False) -> dict[str, Any]:
    """Return the spec of a file's chart, on white: panels one below the other, or side by side."""
    sized = [panel.properties(width=BESIDE_WIDTH if beside else FILE_WIDTH) for panel in panels]
    whole: Chart = sized[0]
    if len(sized) > 1:
        whole = (alt.hconcat if beside else alt.vconcat)(*sized).resolve_scale(
            color="independent", shape="independent", strokeDash="independent"
        )
    return _finished(whole, background="white") | {"padding": 12}


def in_notebook(chart: Chart) -> Chart:
    """Give a chart the look and the width of a file's, to be drawn in a notebook."""
    themed: Chart = chart.properties(width=FILE_WIDTH).configure(**CONFIG)
    return themed


def _finished(chart: Chart, background: str | None) -> dict[str, Any]:
    spec: dict[str, Any] = chart.to_dict(validate=False)  # validation takes longer than drawing
    spec["config"] = CONFIG | {"background": background}
    if background is None:
        spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    plain: dict[str, Any] = plain_texts(spec)
    return plain


def plain_texts(part: Any) -> Any:
    """JSON with the control characters of its texts written out: XML has no place for them."""
    if isinstance(part, str):
        return printable(part)
    if isinstance(part, dict):
        return {key: plain_texts(value) for key, value in part.items()}
    return [plain_texts(value) for value in part] if isinstance(part, list) else part
