"""Which scores were made from tables of log-likelihoods; known without computing anything."""

from collections.abc import Container
from pathlib import Path

from memo.artifacts.files import ArtifactError
from memo.artifacts.layout import Layout
from memo.artifacts.tables import SCORES, read_table

__all__ = ["FROM_TABLE", "from_table"]

FROM_TABLE = "likelihoods"
"""The fact by which scores from a table are known; it says what is in the table."""


def from_table(layout: Layout, experiments: Container[str] = ()) -> list[str]:
    """Names of scores that were made from tables, beside those of experiments."""
    others = (file for file in layout.all_scores if file.stem not in experiments)
    return [file.stem for file in others if _is_from_table(file)]


def _is_from_table(file: Path) -> bool:
    """Whether a file that no experiment has says so; what an old spec left may be unreadable."""
    try:
        return FROM_TABLE in read_table(file, SCORES)[1]
    except ArtifactError:
        return False
