"""Facts that mitigations store with scores: as text, as metrics, and in words."""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from memo.artifacts.files import ArtifactError
from memo.mitigations.kinds import KINDS

if TYPE_CHECKING:
    import polars as pl

NAMES = [name for kind in reversed(KINDS) for name in kind.stored]


def stored_values(facts: Mapping[str, str], where: object) -> dict[str, Any]:
    """Read the facts of mitigations, numbers and lists of indices, among all facts about scores.

    Args:
        facts: Facts by name, as JSON.
        where: The file that they stand in, for messages.

    Raises:
        ArtifactError: One was not written by memo.
    """
    values = {}
    for name in [name for name in NAMES if name in facts]:
        try:
            value = json.loads(facts[name])
        except (ValueError, RecursionError):
            value = None
        is_list = isinstance(value, list) and all(type(item) is int for item in value)
        if not is_list and not (type(value) in (int, float) and math.isfinite(value)):
            raise ArtifactError(f"{where}: its fact {name!r} was not written by memo")
        values[name] = value
    return values


def mitigation_metrics(values: Mapping[str, Any]) -> dict[str, float]:
    """Say in numbers what mitigations promise or cost; of a list of indices, how many."""
    return {
        name: len(value) if isinstance(value, list) else value for name, value in values.items()
    }


def mitigation_paragraphs(
    values: Mapping[str, Any], scores: "pl.DataFrame", *, density: bool
) -> dict[str, str]:
    """Say in words what holds, and what is only suggestive, about what is released.

    Args:
        values: Facts of mitigations.
        scores: Scores at the last epoch.
        density: True where p(x) is a density, and not a probability.

    Returns:
        Paragraphs by their titles.
    """
    paragraphs = (
        kind.paragraph(values, scores, density=density)
        for kind in reversed(KINDS)
        if kind.stored and values.keys() >= set(kind.stored)
    )
    return dict(paragraph for paragraph in paragraphs if paragraph is not None)
