"""A figure: charts with the words that say what they show and what would contradict them."""

from dataclasses import dataclass, field
from typing import Any

import vl_convert

from memo.report.themes import VEGA_LITE, Chart, file_spec, page_spec

__all__ = ["Figure", "chart_files", "page_specs"]

PNG_SCALE = 2.0


@dataclass(frozen=True)
class Figure:
    """One or more charts, or why there are none."""

    name: str
    """Of the files, and of the place in the page: lower case and hyphens."""
    title: str
    panels: list[Chart] = field(default_factory=list)
    shows: str = ""
    contradicts: str = ""
    """What would speak against the reading that `shows` suggests."""
    missing: str | None = None
    """Why there is nothing to draw."""
    beside: bool = False
    """Whether panels stand side by side; otherwise they share an axis, one below the other."""


def page_specs(figures: list[Figure]) -> dict[str, dict[str, Any]]:
    """The Vega-Lite spec of each panel by the id of its place in the page."""
    return {
        f"{figure.name}-{place}": page_spec(panel)
        for figure in figures
        for place, panel in enumerate(figure.panels)
    }


def chart_files(figures: list[Figure]) -> dict[str, bytes]:
    """`charts/<name>.svg` and `.png` of each figure that has a chart."""
    files: dict[str, bytes] = {}
    for figure in figures:
        if figure.panels:
            svg = vl_convert.vegalite_to_svg(
                file_spec(figure.panels, beside=figure.beside), vl_version=VEGA_LITE
            )
            files[f"charts/{figure.name}.svg"] = svg.encode()
            files[f"charts/{figure.name}.png"] = vl_convert.svg_to_png(svg, scale=PNG_SCALE)
    return files
