"""Scores at the last scored epoch, the most memorized first."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.report.charts.binning import highly_memorized
from memo.report.numbers import estimate
from memo.scores.table import Scores

UNRELIABLE = "†"
"""Marks scores that rest on unreliable log-likelihoods."""
FEWEST_TO_SPLIT = 40
"""Fewer observations than these are not told apart by their score."""


@dataclass(frozen=True)
class RankedScores:
    """The scores of all observations, and arrays in their order."""

    table: pl.DataFrame
    """`index`, `id`, `label`, `log_p_in`, `log_p_out`, `memorization`, `std_error` and
    `unreliable_models`."""
    memorization: NDArray[np.float64]
    log_p_in: NDArray[np.float64]
    highly: NDArray[np.bool_]
    """True for the highly memorized."""
    differ: bool
    """True where not all scores are the same."""
    split: bool
    """True where regular and highly memorized observations can be set on the density."""


def rank_scores(scores: pl.DataFrame) -> RankedScores:
    """Rank scores, as in `ReportData`, at their last epoch.

    Raises:
        ValueError: There are none.
    """
    if scores.is_empty():
        raise ValueError("there are no scores to report")
    table = Scores(scores).ranked.select(
        *("index", "id", "label", "log_p_in", "log_p_out", "memorization"),
        pl.col("std_error").cast(pl.Float64).fill_nan(None),
        "unreliable_models",
    )
    memorization, log_p_in = (table[c].to_numpy() for c in ("memorization", "log_p_in"))
    highly = highly_memorized(memorization)
    split = len(table) >= FEWEST_TO_SPLIT and highly.any() and np.ptp(log_p_in) > 0
    differ = np.ptp(memorization) > 0
    return RankedScores(table, memorization, log_p_in, highly, bool(differ), bool(split))


def described(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of such a table, with each `score` in words."""
    marks = [f" {UNRELIABLE}" if models else "" for models in table["unreliable_models"]]
    return [
        row | {"score": estimate(row["memorization"], row["std_error"]) + mark}
        for row, mark in zip(table.iter_rows(named=True), marks, strict=True)
    ]


def is_exact(table: pl.DataFrame) -> bool:
    """Tell whether nothing in a table of estimates was in fact estimated."""
    return bool((table["std_error"].cast(pl.Float64).fill_null(np.inf) == 0).all())
