"""Observations counted in bins, so that a page's size does not grow with the data set."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = [
    "HIGHLY",
    "bin_edges",
    "binned_density",
    "highly_memorized",
    "histogram",
    "shares_of_bins",
]

FloatArray = NDArray[np.float64]

FEWEST_BINS = 8
MOST_BINS = 72
HIGHLY = 0.95
"""Scores above this quantile count as highly memorized."""


def highly_memorized(memorization: FloatArray) -> NDArray[np.bool_]:
    """Which of these scores count as high."""
    return np.asarray(memorization > np.quantile(memorization, HIGHLY))


def bin_edges(values: FloatArray, most: int = MOST_BINS) -> FloatArray:
    """Edges of equal bins by the rule of Freedman & Diaconis, between 8 bins and `most`."""
    low, high = _range(values)
    quartiles = np.quantile(values, [0.25, 0.75])
    width = 2 * (quartiles[1] - quartiles[0]) / len(values) ** (1 / 3)
    wanted = (high - low) / width if width > 0 else most
    return np.linspace(low, high, int(np.clip(wanted, FEWEST_BINS, most)) + 1)


def histogram(values: FloatArray, edges: FloatArray) -> pl.DataFrame:
    """Columns `start`, `end`, `count`: one row a bin."""
    counts, _ = np.histogram(values, edges)
    return pl.DataFrame({"start": edges[:-1], "end": edges[1:], "count": counts})


def binned_density(x: FloatArray, y: FloatArray, bins: tuple[int, int]) -> pl.DataFrame:
    """Columns `x`, `x_end`, `y`, `y_end`, `count`: one row for each rectangle that is not empty."""
    edges = [np.linspace(*_range(v), count + 1) for v, count in zip((x, y), bins, strict=True)]
    counts, _, _ = np.histogram2d(x, y, edges)
    column, row = np.nonzero(counts)
    return pl.DataFrame(
        {
            "x": edges[0][column],
            "x_end": edges[0][column + 1],
            "y": edges[1][row],
            "y_end": edges[1][row + 1],
            "count": counts[column, row].astype(np.int64),
        }
    )


def shares_of_bins(
    values: FloatArray, chosen: NDArray[np.bool_], edges: FloatArray
) -> pl.DataFrame:
    """How many of each bin's observations are among the chosen ones.

    Returns:
        `start`, `end`, `middle`, `regular`, `chosen` (counts), `share` and the Wilson interval of
        one standard error, `low` to `high`, of each bin that is not empty.
    """
    picked = np.histogram(values[chosen], edges)[0]
    total = np.histogram(values, edges)[0]
    table = pl.DataFrame(
        {
            "start": edges[:-1],
            "end": edges[1:],
            "middle": (edges[:-1] + edges[1:]) / 2,
            "regular": total - picked,
            "chosen": picked,
        }
    ).filter(pl.Series(total > 0))
    share, low, high = wilson_interval(table["chosen"].to_numpy(), total[total > 0])
    return table.with_columns(
        pl.Series("share", share), pl.Series("low", low), pl.Series("high", high)
    )


def wilson_interval(
    successes: NDArray[np.int64], trials: NDArray[np.int64], z: float = 1.0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """A proportion and its score interval (Wilson 1927) of z standard errors."""
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z * np.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2) / (1 + z**2 / trials)
    return share, np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


def _range(values: FloatArray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)
