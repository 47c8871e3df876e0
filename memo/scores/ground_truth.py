"""What a value that each record has tells of its memorization: ranks, and the top few percent.

The rank correlation is Spearman's. Noise in the scores draws it towards 0; corrected for that, it
is divided by the root of the scores' reliability, the share of the variance of their ranks that is
not noise (Spearman 1904): with r the mean rank correlation between the scores of two of L blocks
of models, L r / (1 + (L - 1) r) of their mean. Noise in the value itself, which comes of one model
and one set of samples, is not corrected for: who runs the test has it, too.

The recall of the top 1% is the share of the most memorized 1% of the records that are also among
the 1% that the value puts first; chance finds 1%. Of equal values at the edge each counts in part.
"""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from memo.scores.aggregate import FloatArray
from memo.scores.intervals import LEVEL
from memo.scores.relation import Interval, rank_correlation
from memo.scores.table import Scores

IndexArray = NDArray[np.int64]

TOPS = (0.01, 0.05)
"""Shares of the records whose recall is measured."""

RESAMPLES = 1000
"""Draws of records, for intervals of corrected correlations."""

LEAST_RELIABILITY = 0.1
"""Reliability below which nothing can be corrected by it: its own error decides the result."""


@dataclass(frozen=True)
class Seen:
    """What a value tells of memorization. Intervals take records to be independent."""

    rank_correlation: Interval | None
    """None where values or scores are all the same, or too few."""
    corrected: Interval | None
    """The same corrected for noise in the scores; None where one block of models does not tell
    their noise, or they are little else."""
    recalls: dict[float, Interval]
    """By the share of the records; without those of shares of less than one record."""


def seen(scores: Scores, value: FloatArray) -> Seen:
    """Judge a value by the scores of the same records.

    Args:
        scores: At one epoch.
        value: (n,), higher where more should be memorized; may be infinite.

    Example:
        >>> import polars as pl
        >>> columns = {"index": range(100), "memorization": np.arange(100.0), "std_error": 0.0}
        >>> found = seen(Scores(pl.DataFrame(columns)), np.arange(100.0) ** 2)
        >>> found.rank_correlation.value, found.recalls[0.05].value
        (1.0, 1.0)
    """
    truth = scores.column(scores.ranking)
    counts = {top: round(top * len(truth)) for top in TOPS}
    return Seen(
        rank_correlation(scores.memorization, value),
        _corrected(scores, value),
        {top: recall(truth, value, count) for top, count in counts.items() if count},
    )


def recall(truth: FloatArray, value: FloatArray, count: int) -> Interval:
    """Share of the `count` highest of `truth` that are among the `count` highest of `value`.

    The interval is Clopper & Pearson's, as if each of them were found by a draw of its own.

    Example:
        The two highest are the last two; the value has one of them first, and three alike second.

        >>> found = recall(np.arange(5.0), np.array([1.0, 1.0, 0.0, 1.0, 2.0]), 2)
        >>> round(found.value, 4)
        0.6667
    """
    highest = np.argsort(truth, kind="stable")[::-1][:count]
    edge = np.sort(value)[::-1][count - 1]
    above, level = value > edge, value == edge
    weight = above + level * ((count - above.sum()) / level.sum())
    found = float(weight[highest].sum())
    tail = (1 - LEVEL) / 2
    low = scipy.stats.beta.ppf(tail, found, count - found + 1) if found > 0 else 0.0
    high = scipy.stats.beta.ppf(1 - tail, found + 1, count - found) if found < count else 1.0
    return Interval(found / count, float(low), float(high))


def block_scores(scores: Scores) -> FloatArray | None:
    """Scores of single jackknife blocks, (blocks, n); None where there are no two.

    A mean over L blocks, and the same without block l, tell what block l alone gives. Records that
    lack a block are taken at their mean.
    """
    without, blocks = scores.without_block, scores.blocks
    if blocks < 2 or not scores.by_mean_logs:
        return None
    single = blocks * scores.memorization - (blocks - 1) * without
    return np.asarray(np.where(np.isfinite(single), single, scores.memorization))


def _corrected(scores: Scores, value: FloatArray) -> Interval | None:
    """Rank correlation over the root of the reliability; both resampled over records."""
    if scores.exact:
        return rank_correlation(scores.memorization, value)
    single = block_scores(scores)
    if single is None or min(len(np.unique(x)) for x in (scores.memorization, value)) < 2:
        return None
    ranks = scipy.stats.rankdata(np.vstack([scores.memorization, value, single]), axis=1)
    n = ranks.shape[1]
    rng = np.random.default_rng(n)
    drawn = [
        _over_reliability(ranks, rng.multinomial(n, np.full(n, 1 / n))) for _ in range(RESAMPLES)
    ]
    found = _over_reliability(ranks, np.ones(n))
    if not np.isfinite(found):
        return None
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return Interval(*(float(np.clip(end, -1, 1)) for end in (found, low, high)))


def _over_reliability(ranks: FloatArray, weights: FloatArray | IndexArray) -> float:
    """Corrected correlation of weighted records; NaN where reliability is too low.

    Args:
        ranks: Of the scores, of the value, and of the scores of each block, (2 + blocks, n).
        weights: (n,).
    """
    centred = ranks - (ranks @ weights / weights.sum())[:, None]
    products = (centred * weights) @ centred.T
    deviation = np.sqrt(products.diagonal())
    if not deviation.all():
        return float("nan")
    correlation = products / np.outer(deviation, deviation)
    blocks = len(ranks) - 2
    mean = correlation[2:, 2:][np.triu_indices(blocks, 1)].mean()
    reliability = blocks * mean / (1 + (blocks - 1) * mean)
    if not reliability > LEAST_RELIABILITY:
        return float("nan")
    return float(correlation[0, 1] / np.sqrt(reliability))
