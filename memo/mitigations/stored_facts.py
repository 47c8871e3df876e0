"""Facts that mitigations store with scores: as text, as metrics, and in words."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from memo.artifacts.files import ArtifactError
from memo.mitigations.kinds import KINDS

if TYPE_CHECKING:
    import polars as pl

NAMES = [name for kind in reversed(KINDS) for name in kind.stored]


LISTS = frozenset({"removed"})
"""Those that are lists of indices; the others are numbers."""

LARGEST = 1e300
"""Beyond it, numbers that are computed from a fact are not finite."""


def stored_values(facts: Mapping[str, str], where: object) -> dict[str, Any]:
    """Read the facts of mitigations, numbers and lists of indices, among all facts about scores.

    Args:
        facts: Facts by name, as JSON.
        where: The file that they stand in, for messages.

    Raises:
        ArtifactError: One was not written by memo, or lacks another that is written with it.
    """
    values = {}
    for name in [name for name in NAMES if name in facts]:
        try:
            value = json.loads(facts[name])
        except (ValueError, RecursionError):
            value = None
        if not (_is_indices(value) if name in LISTS else _is_number(value)):
            raise ArtifactError(f"{where}: its fact {name!r} was not written by memo")
        values[name] = value
    for kind in KINDS:
        found = [name for name in kind.stored if name in values]
        if found and len(found) < len(kind.stored):
            raise ArtifactError(f"{where}: its fact {found[0]!r} stands there by itself")
    return values


def _is_indices(value: Any) -> bool:
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 2**62 for v in value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -LARGEST <= value <= LARGEST


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
