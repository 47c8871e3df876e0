"""Scores at the last scored epoch, the most memorized first."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.report.charts.binning import all_alike, highly_memorized
from memo.report.numbers import estimate, number
from memo.scores.table import Scores

UNRELIABLE = "†"
"""Marks scores that rest on unreliable log-likelihoods."""
FEWEST_TO_SPLIT = 40
"""Fewer observations than these are not told apart by their score."""


@dataclass(frozen=True)
class RankedScores:
    """The scores of all observations, and arrays in their order."""

    table: pl.DataFrame
    """`index`, `id`, `label`, `log_p_in`, `log_p_out`, `memorization`, `low`, `high`,
    `memorization_shrunk`, `above_threshold`, `std_error` and `unreliable_models`."""
    memorization: NDArray[np.float64]
    log_p_in: NDArray[np.float64]
    highly: NDArray[np.bool_]
    """True for the highly memorized."""
    differ: bool
    """True where not all scores are the same."""
    shrunk: bool
    """True where the order is by shrunk scores, which are not the scores themselves."""
    split: bool
    """True where regular and highly memorized observations can be set on the density."""


def rank_scores(scores: pl.DataFrame) -> RankedScores:
    """Rank scores, as in `ReportData`, at their last epoch.

    Raises:
        ValueError: There are none.
    """
    if scores.is_empty():
        raise ValueError("there are no scores to report")
    known = Scores(scores).last
    uncertain = ("low", "high", "memorization_shrunk", "above_threshold", "std_error")
    table = known.ranked.select(
        *("index", "id", "label", "log_p_in", "log_p_out", "memorization"),
        pl.col(*uncertain).cast(pl.Float64).fill_nan(None),
        "unreliable_models",
    )
    memorization, log_p_in = (table[c].to_numpy() for c in ("memorization", "log_p_in"))
    highly = highly_memorized(memorization)
    split = len(table) >= FEWEST_TO_SPLIT and highly.any() and np.ptp(log_p_in) > 0
    return RankedScores(
        table,
        memorization,
        log_p_in,
        highly,
        differ=not all_alike(memorization, log_p_in),
        shrunk=known.ranking != "memorization" and not is_exact(table),
        split=bool(split),
    )


def described(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of such a table, with each `score` in words, and `shrunk` where it differs.

    `shrunk` is None where there is no shrunk score, or nothing to be shrunk.
    """
    marks = [f" {UNRELIABLE}" if models else "" for models in table["unreliable_models"]]
    exact = is_exact(table)
    return [
        row
        | {
            "score": estimate(row["memorization"], row["low"], row["high"]) + mark,
            "shrunk": None
            if exact or row["memorization_shrunk"] is None
            else number(row["memorization_shrunk"]),
        }
        for row, mark in zip(table.iter_rows(named=True), marks, strict=True)
    ]


def is_exact(table: pl.DataFrame) -> bool:
    """Tell whether nothing in a table of estimates was in fact estimated."""
    return bool((table["std_error"].cast(pl.Float64).fill_null(np.inf) == 0).all())
