"""Scores at the last scored epoch, the most memorized first."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.report.charts.binning import highly_memorized
from memo.report.numbers import estimate

__all__ = [
    "COLUMNS",
    "FEWEST_TO_SPLIT",
    "UNRELIABLE",
    "RankedScores",
    "described",
    "is_exact",
    "rank_scores",
]

FloatArray = NDArray[np.float64]

COLUMNS = [
    "index",
    "id",
    "label",
    "log_p_in",
    "log_p_out",
    "memorization",
    "std_error",
    "unreliable_models",
]
UNRELIABLE = "†"
"""Marks scores that rest on unreliable log-likelihoods."""
FEWEST_TO_SPLIT = 40
"""Fewer observations than these are not told apart by their score."""


@dataclass(frozen=True)
class RankedScores:
    """The scores of all observations; arrays are in the table's order."""

    table: pl.DataFrame
    """`epoch` and `COLUMNS`."""

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def memorization(self) -> FloatArray:
        return self.table["memorization"].to_numpy()

    @cached_property
    def log_p_in(self) -> FloatArray:
        return self.table["log_p_in"].to_numpy()

    @cached_property
    def highly(self) -> NDArray[np.bool_]:
        """True for the highly memorized."""
        return highly_memorized(self.memorization)

    @cached_property
    def differ(self) -> bool:
        """True where not all scores are the same."""
        return bool(np.ptp(self.memorization) > 0)

    @cached_property
    def split(self) -> bool:
        """True where regular and highly memorized observations can be set on the density."""
        return (
            len(self) >= FEWEST_TO_SPLIT
            and bool(self.highly.any())
            and bool(np.ptp(self.log_p_in) > 0)
        )


def rank_scores(scores: pl.DataFrame) -> RankedScores:
    """Rank scores, as in `ReportData`, at their last epoch.

    Raises:
        ValueError: There are none.
    """
    if scores.is_empty():
        raise ValueError("there are no scores to report")
    last = scores.filter(pl.col("epoch") == pl.col("epoch").max()).select("epoch", *COLUMNS)
    numbers = pl.col("log_p_in", "memorization", "std_error").cast(pl.Float64)
    return RankedScores(
        last.with_columns(numbers)
        .with_columns(pl.col("std_error").fill_nan(None))
        .sort("memorization", "index", descending=[True, False])
    )


def described(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table of `COLUMNS`, with each `score` in words."""
    return [
        row
        | {
            "score": estimate(row["memorization"], row["std_error"])
            + (f" {UNRELIABLE}" if row["unreliable_models"] else "")
        }
        for row in table.iter_rows(named=True)
    ]


def is_exact(table: pl.DataFrame) -> bool:
    """Tell whether nothing in a table of estimates was in fact estimated."""
    return bool((table["std_error"].cast(pl.Float64).fill_null(np.inf) == 0).all())
