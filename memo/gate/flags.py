"""Records that a policy flags, with the reasons."""

import polars as pl

from memo.errors import InputError
from memo.scores.table import Scores

REASONS = ("score", "replica")
"""The score is above the threshold, probably; samples of the released model replicate it."""


def flagged_records(
    scores: Scores,
    probability: float,
    replicas: pl.DataFrame | None,
    risks: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """List the records to look at before a release, the most memorized first.

    A record is flagged where its true score is above the threshold with at least `probability`,
    given the scores of all records (column `above_threshold`, see `memo.scores.shrinkage`); and
    where a sample of the released model replicates it.

    Args:
        scores: At one epoch.
        probability: Between 0 and 1.
        replicas: Columns `index` and `replica`; None where samples were not compared.
        risks: Columns `index` and `risk`, the share of models in which an attack finds the record;
            None where none were attacked.

    Returns:
        `index`, `id`, `label`, `memorization`, `memorization_shrunk`, `above_threshold`, `risk`
        (null where it is not known), `reasons` (of `REASONS`, with "; " between).

    Raises:
        InputError: Scores have no errors, so that no probability is known.
    """
    table = scores.ranked
    if table["above_threshold"].null_count():
        raise InputError(
            "no record can be flagged: scores without errors have no probability of being above "
            "the threshold; set scoring.design.repeats to 2 or more, with aggregate: mean-log"
        )
    copied = (
        table.select("index", replica=pl.lit(value=False))
        if replicas is None
        else replicas.select("index", "replica")
    )
    none = pl.DataFrame(schema={"index": pl.Int64, "risk": pl.Float64})
    found = none if risks is None else risks.select("index", "risk")
    marks = {"score": pl.col("above_threshold") >= probability, "replica": pl.col("replica")}
    reasons = [pl.when(mark).then(pl.lit(name)) for name, mark in marks.items()]
    return (
        table.join(copied, on="index", how="left", maintain_order="left")
        .join(found, on="index", how="left", maintain_order="left")
        .with_columns(reasons=pl.concat_str(*reasons, separator="; ", ignore_nulls=True))
        .filter(pl.col("reasons") != "")
        .select(
            *("index", "id", "label", "memorization", "memorization_shrunk", "above_threshold"),
            *("risk", "reasons"),
        )
    )
