"""Scores of groups: how much log density the records of a group owe to the whole group.

Where the members of a group are held out together, M_i is what log p of record i owes to all of
them. Their sum

    M_g = sum over i in g of M_i

is what log p of the group's records together owes to the group: of records that are independent
given the model, the log density of all of them is the sum.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.scores.aggregate import FloatArray, jackknife_std_error
from memo.scores.intervals import score_intervals
from memo.scores.table import TOGETHER_FACT, Scores

GROUP_SCORES: dict[str, pl.DataType] = {
    "group": pl.String(),
    "records": pl.Int64(),
    "memorization": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "std_error": pl.Float64(),
    "largest_id": pl.String(),
    "largest": pl.Float64(),
}
"""Columns of a table of groups, in nats: the sum of the members' scores with the ends of its 95%
interval and its standard error, null where there is none; the member with the highest score."""


def group_scores(scores: Scores) -> pl.DataFrame | None:
    """Scores of all groups at the last epoch, the most memorized first; of equal ones by name.

    Standard errors are jackknives over blocks, as those of single scores: models that are shared by
    the members make their errors go together. Intervals are as of `score_intervals`.

    Args:
        scores: Scores with a column `group`.

    Returns:
        Columns as in `GROUP_SCORES`; None where groups were not held out together, so that scores
        are not of groups.

    Example:
        >>> columns = {"index": [0, 1, 2], "id": ["a", "b", "c"], "group": ["p", "q", "p"]}
        >>> columns |= {"epoch": [1, 1, 1], "memorization": [1.0, 5.0, 3.0]}
        >>> columns |= {"std_error": [0.0] * 3, "estimator_std_error": [0.0] * 3}
        >>> table = pl.DataFrame(columns | {"memorization_without_repeat": [[], [], []]})
        >>> group_scores(Scores(table, {"together": "groups"}))["memorization"].to_list()
        [5.0, 4.0]
    """
    if TOGETHER_FACT not in scores.facts:
        return None
    at = scores.last
    names, own = np.unique(at.table["group"].to_numpy(), return_inverse=True)
    total = _summed(at.memorization, own)
    estimator = np.sqrt(_summed(np.square(at.column("estimator_std_error")), own))
    error = estimator if at.exact else np.full(len(names), np.nan)
    if at.blocks > 1:
        without = np.stack([_summed(row, own) for row in at.without_block])
        error = np.maximum(jackknife_std_error(without), estimator)
    low, high = np.full((2, len(names)), np.nan)
    if at.by_mean_logs:
        low, high = score_intervals(total, error, at.blocks)
    order = np.lexsort((at.index, -at.memorization, own))
    largest = order[np.searchsorted(own[order], np.arange(len(names)))]
    columns = {
        "group": names,
        "records": np.bincount(own),
        "memorization": total,
        "low": low,
        "high": high,
        "std_error": error,
        "largest_id": at.table["id"].gather(largest),
        "largest": at.memorization[largest],
    }
    table = pl.DataFrame(columns, schema=GROUP_SCORES, nan_to_null=True)
    return table.sort("memorization", "group", descending=[True, False])


def listed_groups(scores: Scores) -> pl.DataFrame | None:
    """Groups to be listed: all of `group_scores`; of near-duplicates, sets of several records."""
    table = group_scores(scores)
    if table is None or scores.facts[TOGETHER_FACT] != "near-duplicates":
        return table
    return table.filter(pl.col("records") > 1)


def _summed(values: FloatArray, own: NDArray[np.int64]) -> FloatArray:
    """Sums of values, (n,), over the members of each group."""
    return np.bincount(own, values).astype(np.float64)
