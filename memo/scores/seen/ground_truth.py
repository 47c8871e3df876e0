"""Sight of memorization in a value that each record has: in ranks, and in the top few percent.

The rank correlation is Spearman's. Noise in the scores draws it towards 0; corrected for that, it
is divided by the root of the scores' reliability, the share of the variance of their ranks that is
not noise (Spearman 1904): with r the mean rank correlation between the scores of two of L blocks
of models, L r / (1 + (L - 1) r) of their mean. That leaves noise in the value, which comes of one
model and one set of samples: who runs the test has it, too. Where the value is known in single
repeats, too, correlations between the scores of one repeat and the values of another, over the root
of those between repeats of either, tell what is left where neither has noise: of a test that is
blind, little; of one that is only noisy, much.

The recall of the top 1% is the share of the most memorized 1% of the records that are also among
the 1% that the value puts first; chance finds 1%. Of equal values at the edge each counts in part.
"""

from collections.abc import Callable
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
    """Sight of memorization in a value. Intervals take records to be independent."""

    rank_correlation: Interval | None
    """None where values or scores are all the same, or too few."""
    corrected: Interval | None
    """The same corrected for noise in the scores; None where one block of models does not tell
    their noise, or they are little else."""
    without_noise: Interval | None
    """The same of the mean value over many models and many samples of each, corrected for noise in
    both; None where the value is not known in several repeats, or is little but noise there."""
    recalls: dict[float, Interval]
    """By the share of the records; without those of shares of less than one record."""


def seen(scores: Scores, value: FloatArray, by_repeat: FloatArray | None = None) -> Seen:
    """Judge a value by the scores of the same records.

    Args:
        scores: At one epoch.
        value: (n,), higher where more should be memorized; may be infinite.
        by_repeat: The same in single repeats of the design, (repeats, n); None where not known.

    Example:
        >>> import polars as pl
        >>> columns = {"index": range(100), "memorization": np.arange(100.0), "std_error": 0.0}
        >>> columns["memorization_without_repeat"] = [[]] * 100
        >>> found = seen(Scores(pl.DataFrame(columns)), np.arange(100.0) ** 2)
        >>> round(found.corrected.value, 6), found.recalls[0.05].value
        (1.0, 1.0)
    """
    truth = scores.column(scores.ranking)
    counts = {top: round(top * len(truth)) for top in TOPS}
    uncorrected = rank_correlation(scores.memorization, value)
    single = block_scores(scores)
    corrected = without_noise = None
    if uncorrected is not None and scores.exact:
        corrected = uncorrected
    elif uncorrected is not None and single is not None:
        corrected = _resampled(
            lambda found: _over_root(found[0, 1], _reliability(found[2:, 2:], len(single))),
            np.vstack([scores.memorization, value, single]),
        )
        if by_repeat is not None and by_repeat.shape == single.shape:
            rows = np.vstack([single, scores.without_block, by_repeat])
            without_noise = _resampled(_between_repeats, rows)
    recalls = {top: recall(truth, value, count) for top, count in counts.items() if count}
    return Seen(uncorrected, corrected, without_noise, recalls)


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


def _resampled(statistic: Callable[[FloatArray], float], rows: FloatArray) -> Interval | None:
    """A statistic of the correlations of the ranks of rows, and its interval over records.

    Args:
        statistic: From the matrix of correlations to a number; NaN where it is not defined.
        rows: (., n); records that lack a value, NaN, are left out.

    Returns:
        Ends are quantiles over draws of the records; None where the number is not defined.
    """
    ranks = scipy.stats.rankdata(rows[:, ~np.isnan(rows).any(0)], axis=1)
    n = ranks.shape[1]
    if not n:
        return None
    value = statistic(_correlations(ranks, np.ones(n)))
    if np.isnan(value):
        return None
    rng, alike = np.random.default_rng(n), np.full(n, 1 / n)
    drawn = [statistic(_correlations(ranks, rng.multinomial(n, alike))) for _ in range(RESAMPLES)]
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return Interval(*(float(np.clip(end, -1, 1)) for end in (value, low, high)))


def _correlations(ranks: FloatArray, weights: FloatArray | IndexArray) -> FloatArray:
    """Correlations of the rows of ranks, of weighted records; NaN of a row that is all the same."""
    centred = ranks - (ranks @ weights / weights.sum())[:, None]
    products = (centred * weights) @ centred.T
    deviation = np.sqrt(products.diagonal())
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(products / np.outer(deviation, deviation))


def _pairs(correlation: FloatArray) -> float:
    """Mean correlation of two different rows."""
    return float(correlation[np.triu_indices(len(correlation), 1)].mean())


def _reliability(correlation: FloatArray, count: int) -> float:
    """Reliability of the mean of so many rows as have these correlations (Spearman, Brown 1910)."""
    mean = _pairs(correlation)
    return count * mean / (1 + (count - 1) * mean)


def _over_root(value: float, reliability: float) -> float:
    usable = reliability > LEAST_RELIABILITY
    return float(value / np.sqrt(reliability)) if usable else float("nan")


def _between_repeats(correlation: FloatArray) -> float:
    """Correlation of scores and values without noise, from those of different repeats alone.

    Scores and values of one repeat are of the same models, and so of the same chance. The values of
    each are compared with the scores of all others, which have less noise than those of one.

    Args:
        correlation: Of the scores of each repeat, of those without each, and of the values of each.
    """
    count = len(correlation) // 3
    scores, values = correlation[:count, :count], correlation[2 * count :, 2 * count :]
    across = correlation[count : 2 * count, 2 * count :].diagonal().mean()
    of_others, of_values = _reliability(scores, count - 1), _pairs(values)
    if min(_reliability(scores, count), _reliability(values, count)) <= LEAST_RELIABILITY:
        return float("nan")
    return float(across / np.sqrt(of_others * of_values))
