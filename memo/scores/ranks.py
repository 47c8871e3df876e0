"""Spearman's rank correlation."""

import numpy as np
import polars as pl

from memo.scores.aggregate import FloatArray

__all__ = ["rank_correlation"]


def rank_correlation(x: FloatArray, y: FloatArray) -> float:
    """Spearman's, of numbers that are not all the same; ties have their mean rank.

    Infinity is a rank as any other.
    """
    first, second = (pl.Series(values).rank("average").to_numpy() for values in (x, y))
    return float(np.corrcoef(first, second)[0, 1])
