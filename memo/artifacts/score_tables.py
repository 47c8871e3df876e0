"""Tables of scores in files: read once they are seen to be what they must be."""

from collections.abc import Container
from pathlib import Path

import numpy as np
import polars as pl

from memo.artifacts.files import ArtifactError, read_whole
from memo.artifacts.layout import Layout
from memo.artifacts.tables import (
    NULLABLE,
    MissingColumnsError,
    parse_table,
    read_table,
    write_table,
)
from memo.scores.table import AT_N, SCORES, SHRUNK, Scores

FROM_TABLE = "likelihoods"
"""The fact by which scores that were made from a table are known; it says what is in the table."""

LATER = ("low", "high", *SHRUNK, AT_N, "memorization_paper")
"""Columns that scores of an earlier memo do not have."""

MAY_BE_NULL = NULLABLE | {"low", "high", *SHRUNK}


def read_scores_file(file: Path) -> Scores:
    """Read the scores in a file.

    Raises:
        ArtifactError: It is missing, damaged, or not a table of scores.
    """
    return parse_scores(read_whole(file), file)


def parse_scores(content: bytes, file: Path) -> Scores:
    """Read scores from the bytes of a file that lies elsewhere.

    Raises:
        ArtifactError: They are damaged, not a table of scores, or of an earlier memo; the message
            names `file`.
    """
    try:
        table, facts = parse_table(content, SCORES, file, nullable=MAY_BE_NULL, later=["group"])
    except MissingColumnsError as error:
        if not set(error.columns) <= set(LATER):
            raise
        raise ArtifactError(
            f"{file}: the scores are outdated: an earlier memo made them, without the columns "
            f"{', '.join(error.columns)}"
        ) from None
    _require_replicates(file, table)
    return Scores(table, facts)


def write_scores_file(file: Path, scores: Scores) -> None:
    """Write scores with their facts, whole or not at all.

    Raises:
        ArtifactError: They are not what can be read back, or the file cannot be written.
    """
    _require_replicates(file, scores.table)
    write_table(file, scores.table, SCORES, scores.facts, MAY_BE_NULL)


def from_table(layout: Layout, experiments: Container[str] = ()) -> list[str]:
    """Names of scores that were made from tables of log-likelihoods, beside those of experiments.

    What an earlier spec left behind may be unreadable, and is passed over.
    """
    others = (file for file in layout.all_scores if file.stem not in experiments)
    return [file.stem for file in others if _is_from_table(file)]


def _is_from_table(file: Path) -> bool:
    """Tell by the facts; those of an earlier memo are told too, so that reading says what to do."""
    schema = {name: dtype for name, dtype in SCORES.items() if name not in LATER}
    try:
        return FROM_TABLE in read_table(file, schema, later=["group"])[1]
    except ArtifactError:
        return False


def _require_replicates(file: Path, table: pl.DataFrame) -> None:
    """See that rows have one score without each block, a number where there is an error.

    Where too few models give no standard error, each of them is NaN.
    """
    without = table["memorization_without_repeat"]
    values = without.explode(empty_as_null=False)
    blocks = int(without.list.len()[0])
    wrong = without.list.len().n_unique() != 1 or values.null_count() > 0
    if not wrong:
        expected = np.repeat(table["std_error"].is_not_null().to_numpy(), blocks)
        found = values.to_numpy()
        wrong = not np.array_equal(np.isfinite(found), expected) or np.isinf(found).any()
    if wrong:
        raise ArtifactError(f"{file}: scores without each repeat are not numbers for each repeat")
