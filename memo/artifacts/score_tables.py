"""Tables of scores: read once they are seen to be what they must be."""

import json
import math
from pathlib import Path

import polars as pl

from memo.artifacts.files import ArtifactError
from memo.artifacts.tables import SCORES, Facts, parse_table

__all__ = ["parse_scores", "read_scores_file"]

NUMBERS = ("epsilon", "delta", "weight", "largest_bound")


def read_scores_file(file: Path) -> tuple[pl.DataFrame, Facts]:
    """The scores in a file.

    Raises:
        ArtifactError: It is missing, damaged, or not a table of scores.
    """
    if not file.is_file():
        raise ArtifactError(f"{file}: no such file")
    return parse_scores(file.read_bytes(), file)


def parse_scores(content: bytes, file: Path) -> tuple[pl.DataFrame, Facts]:
    """As `read_scores_file`, from the bytes of a file that lies elsewhere."""
    scores, facts = parse_table(content, SCORES, file)
    try:
        wrong = [name for name in NUMBERS if name in facts and math.isnan(float(facts[name]))]
        removed = json.loads(facts.get("removed", "[]"))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{file}: its facts cannot be read: {error}") from None
    if wrong or not isinstance(removed, list) or not all(type(i) is int for i in removed):
        raise ArtifactError(f"{file}: its facts were not written by memo")
    without = scores["memorization_without_repeat"]
    values = without.explode(empty_as_null=False)
    if without.list.len().n_unique() != 1 or values.null_count() or not values.is_finite().all():
        raise ArtifactError(f"{file}: scores without each repeat are not numbers for each repeat")
    return scores, facts
