"""Tables of scores: made from arrays, and read once they are seen to be what they must be."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.artifacts.files import ArtifactError
from memo.artifacts.tables import SCORES, Facts, parse_table
from memo.scores.aggregate import Aggregate

__all__ = ["parse_scores", "read_scores_file", "scores_table"]


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
    without = scores["memorization_without_repeat"]
    values = without.explode(empty_as_null=False)
    if without.list.len().n_unique() != 1 or values.null_count() or not values.is_finite().all():
        raise ArtifactError(f"{file}: scores without each repeat are not numbers for each repeat")
    return scores, facts


def scores_table(
    observations: pl.DataFrame, epoch: int, result: Aggregate, unreliable: NDArray[np.int64]
) -> pl.DataFrame:
    """Scores at an epoch, columns as in `SCORES`; null where there is none.

    Args:
        observations: `index`, `id` and `label` of each.
        epoch: When the models were scored.
        result: Their scores.
        unreliable: Under how many models each one's log-likelihood is.
    """
    columns = (
        "log_p_in",
        "log_p_out",
        "memorization",
        "std_error",
        "estimator_std_error",
        "mean_log_likelihood_in",
        "mean_log_likelihood_out",
    )
    return observations.with_columns(
        pl.lit(epoch, pl.Int64).alias("epoch"),
        *(pl.Series(name, getattr(result, name), nan_to_null=True) for name in columns),
        unreliable_models=unreliable,
        memorization_without_repeat=pl.Series(
            [row.tolist() for row in result.without_block.T], dtype=pl.List(pl.Float64)
        ),
    ).select(*SCORES)
