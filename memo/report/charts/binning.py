"""Observations counted in bins, so that a page's size does not grow with the data set."""

import numpy as np
import polars as pl
import scipy
from numpy.typing import NDArray

from memo.scores.intervals import LEVEL

FloatArray = NDArray[np.float64]

FEWEST_BINS = 8
MOST_BINS = 72
HIGHLY = 0.95
"""Scores above this quantile count as highly memorized."""
ROUNDING = 1e-9
"""Values that differ by less, as a share of the largest, differ by rounding alone."""


def highly_memorized(memorization: FloatArray) -> NDArray[np.bool_]:
    """Tell which of these scores count as high."""
    return np.asarray(memorization > np.quantile(memorization, HIGHLY))


def all_alike(values: FloatArray, scale: FloatArray | None = None) -> bool:
    """Tell whether values differ by no more than rounding.

    Args:
        values: (n,).
        scale: What they are differences of, (n,); themselves when None.
    """
    size = np.abs(values if scale is None else scale).max()
    return bool(np.ptp(values) <= ROUNDING * max(1.0, float(size)))


def bin_edges(values: FloatArray, most: int = MOST_BINS) -> FloatArray:
    """Return edges of equal bins by the rule of Freedman & Diaconis (1981), from 8 to `most` bins.

    Unlike NumPy's `fd`, at most so many however heavy the tails are.
    """
    width = 2 * scipy.stats.iqr(values) / len(values) ** (1 / 3)
    wanted = np.ptp(values) / width if width > 0 else most
    return np.histogram_bin_edges(values, int(np.clip(wanted, FEWEST_BINS, most)), _ends(values))


def histogram(values: FloatArray, edges: FloatArray) -> pl.DataFrame:
    """Return columns `start`, `end`, `count`: one row for each bin that is not empty."""
    counts, _ = np.histogram(values, edges)
    table = pl.DataFrame({"start": edges[:-1], "end": edges[1:], "count": counts})
    return table.filter(pl.col("count") > 0)


def binned_density(x: FloatArray, y: FloatArray, bins: tuple[int, int]) -> pl.DataFrame:
    """Return `x`, `x_end`, `y`, `y_end`, `count`: a row for each rectangle that is not empty."""
    counts, x_edges, y_edges = np.histogram2d(x, y, bins, [_ends(x), _ends(y)])
    column, row = np.nonzero(counts)
    return pl.DataFrame(
        {
            "x": x_edges[column],
            "x_end": x_edges[column + 1],
            "y": y_edges[row],
            "y_end": y_edges[row + 1],
            "count": counts[column, row].astype(np.int64),
        }
    )


def shares_of_bins(
    values: FloatArray, chosen: NDArray[np.bool_], edges: FloatArray
) -> pl.DataFrame:
    """Return the share of each bin's observations that is among the chosen ones.

    Returns:
        `middle` of each bin that is not empty, `regular` and `chosen` (counts), the share `value`,
        and its 95% interval, `low` to `high` (Wilson 1927).
    """
    picked, total = (np.histogram(part, edges)[0] for part in (values[chosen], values))
    filled = total > 0
    middle, picked, total = ((edges[:-1] + edges[1:]) / 2)[filled], picked[filled], total[filled]
    intervals = [
        scipy.stats.binomtest(k, n).proportion_ci(LEVEL, "wilson")
        for k, n in zip(picked, total, strict=True)
    ]
    return pl.DataFrame(
        {
            "middle": middle,
            "regular": total - picked,
            "chosen": picked,
            "value": picked / total,
            "low": [float(interval.low) for interval in intervals],
            "high": [float(interval.high) for interval in intervals],
        }
    )


def _ends(values: FloatArray) -> tuple[float, float]:
    """Least and largest value, or half a unit either side of values that are all alike."""
    low, high = float(values.min()), float(values.max())
    return (low - 0.5, high + 0.5) if all_alike(values) else (low, high)
