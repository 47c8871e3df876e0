"""A figure: charts with the words that say what they show and what would contradict them."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from memo.report.themes import VEGA_LITE, Chart, file_spec, page_spec
from memo.vega import Drawing, draw

__all__ = ["Figure", "chart_files", "draw_figures", "page_specs"]

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


def draw_figures(figures: list[Figure]) -> list[tuple[str, Future[Drawing]]]:
    """Have each figure that has a chart drawn, by its name, while this process goes on."""
    return [
        (
            figure.name,
            draw(file_spec(figure.panels, beside=figure.beside), VEGA_LITE, PNG_SCALE),
        )
        for figure in figures
        if figure.panels
    ]


def chart_files(drawn: list[tuple[str, Future[Drawing]]]) -> dict[str, bytes]:
    """`charts/<name>.svg` and `.png` of each figure, once they are drawn.

    Raises:
        RuntimeError: One cannot be drawn.
    """
    files: dict[str, bytes] = {}
    for name, drawing in drawn:
        files[f"charts/{name}.svg"], files[f"charts/{name}.png"] = drawing.result()
    return files
