"""A figure: charts with the words that say what they show and what would contradict them."""

from dataclasses import dataclass, field
from typing import Any

import vl_convert

from memo.report.charts.themes import VEGA_LITE, Chart, file_spec, page_spec

PNG_SCALE = 2.0


@dataclass(frozen=True)
class Figure:
    """One or more charts, or the reason why there are none."""

    name: str
    """Lower case and hyphens: the name of its files and of its place in the page."""
    title: str
    panels: list[Chart] = field(default_factory=list)
    shows: str = ""
    contradicts: str = ""
    """Observations that would speak against the reading that `shows` suggests."""
    missing: str | None = None
    """The reason why there is nothing to draw."""
    beside: bool = False
    """True where panels stand side by side; otherwise they share an axis, one below the other."""


def page_specs(figures: list[Figure]) -> dict[str, dict[str, Any]]:
    """Return the Vega-Lite spec of each panel by the id of its place in the page."""
    return {
        f"{figure.name}-{place}": page_spec(panel)
        for figure in figures
        for place, panel in enumerate(figure.panels)
    }


def chart_files(figures: list[Figure]) -> dict[str, bytes]:
    """Draw `charts/<name>.svg` and `.png` of each figure that has charts.

    Raises:
        ValueError: Vega-Lite cannot draw one.
    """
    files: dict[str, bytes] = {}
    for figure in figures:
        if figure.panels:
            spec = file_spec(figure.panels, beside=figure.beside)
            svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
            files[f"charts/{figure.name}.svg"] = svg.encode()
            files[f"charts/{figure.name}.png"] = vl_convert.svg_to_png(svg, scale=PNG_SCALE)
    return files
