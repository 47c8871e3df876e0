"""Influence between records: how much log density a record owes to another one.

Leaving out one of two twins changes little while the other stays in training, so that both score
low though the model has memorized what they share (Meeus et al. 2025, for language models). The
influence of record j on record i is read from models that all held i out:

    I_ij = mean of log p(x_i) over models trained with j, without i
         - mean of log p(x_i) over models trained with neither                         (nats)

What is left of the score of i where j is in training, and what x_i owes to both, are

    C_ij = mean of log p(x_i) over models trained with both
         - mean of log p(x_i) over models trained with j, without i,
    B_ij = mean of log p(x_i) over models trained with both
         - mean of log p(x_i) over models trained with neither = I_ij + C_ij.

Of twins I is high and C is low. The score M_i lies between C and B: V_i is a mean over models most
of which have j, in K-fold cross-validation 1 - 1/K of them, so that M_i is near C_ij; of subsets of
half the observations it is half-way.

I and B need models that held out i and j together. Of subsets of half the observations a quarter
did; of the K L models of K-fold cross-validation, L / K on average, so that for most pairs there
are none, and for few there is an error. Feldman & Zhang (2020)
estimate the influence of training on test examples from subsets in the same way.
"""

import numpy as np
import polars as pl
import scipy
from numpy.typing import NDArray

from memo.scores.aggregate import Aggregate, FloatArray, memorization_scores
from memo.scores.intervals import LEVEL
from memo.scores.significance import moderated_std_error
from memo.scores.table import THRESHOLD

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CHUNK = 1 << 22
"""Log-likelihoods of pairs that are held at a time."""

RATE = 0.05
"""Expected share of false discoveries among the pairs that are marked."""

INFLUENCE: dict[str, pl.DataType] = {
    "index": pl.Int64(),
    "neighbor": pl.Int64(),
    "distance": pl.Float64(),
    "proven": pl.Boolean(),
    "with_neighbor": pl.Int64(),
    "with_neither": pl.Int64(),
    "influence": pl.Float64(),
    "std_error": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "p_value": pl.Float64(),
    "significant": pl.Boolean(),
    "own": pl.Float64(),
    "joint": pl.Float64(),
    "joint_std_error": pl.Float64(),
    "memorization": pl.Float64(),
    "explained": pl.Boolean(),
}
"""Columns of a table of pairs, one row for each observation `index` and one near it, `neighbor`.

`proven` marks neighbours that none but those of the same observation in earlier rows can be nearer
than; others were found among candidates (`memo.samples.nearest_others`).
`with_neighbor` and `with_neither` count the models that held `index` out and were trained with and
without `neighbor`. `influence` is I above, `own` is C, `joint` is B, in nats; null where one of the
sides has no model. `std_error` is the jackknife's over blocks, null where a side has models in one
block alone; `low` and `high` are the ends of a 95% interval from standard errors that are moderated
over pairs, `p_value` is one-sided, and `significant` marks pairs at a false discovery rate of 5%.
`memorization` is the score of `index`; `explained` marks those that `neighbor` explains.
"""


NULLABLE = frozenset(
    ("influence", "std_error", "low", "high", "p_value", "own", "joint", "joint_std_error")
)
"""Columns that are null where a design cannot tell."""


def influences(
    log_likelihood: FloatArray,
    std_error: FloatArray,
    in_training: BoolArray,
    block: IntArray,
    pairs: IntArray,
) -> pl.DataFrame:
    """Influence of the second record of each pair on the first.

    Tests are one-sided t-tests with standard errors moderated over all pairs, at a false discovery
    rate by Benjamini & Hochberg (1995), as `memo.scores.significantly_positive`. A pair's degrees
    of freedom are those of two samples of one variance (Welch 1947), of as many as there are blocks
    on each side.

    Args:
        log_likelihood: (models, n), nats.
        std_error: Standard error of each log-likelihood, (models, n).
        in_training: Marks of the observations that each model was trained on, (models, n).
        block: Jackknife block of each model, (models,).
        pairs: An observation and another one, (pairs, 2).

    Returns:
        Columns of `INFLUENCE` from `index` to `joint_std_error`, but `distance` and `proven`; in
        order of pairs.

    Example:
        Record 0 has a density of 1/2 where 1 is in training, and of 1/8 where neither is.

        >>> log_p = np.log([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.125, 0.125]])
        >>> inside = np.array([[True, True], [False, True], [True, False], [False, False]])
        >>> found = influences(log_p, 0 * log_p, inside, np.zeros(4, int), np.array([[0, 1]]))
        >>> np.exp(found["influence"]).round(12).to_list(), found["std_error"].to_list()
        ([4.0], [None])
    """
    parts = [
        _part(log_likelihood, std_error, in_training, block, part)
        for part in np.array_split(pairs, max(1, -(-pairs.size * len(block) // (2 * CHUNK))))
    ]
    table = pl.concat(parts)
    return _tested(table).select(*[name for name in INFLUENCE if name in _RETURNED])


_RETURNED = frozenset(INFLUENCE) - {"distance", "proven", "memorization", "explained"}


def _part(
    log_likelihood: FloatArray,
    std_error: FloatArray,
    in_training: BoolArray,
    block: IntArray,
    pairs: IntArray,
) -> pl.DataFrame:
    """Estimates of some pairs, and the degrees of freedom of their errors."""
    first, second = pairs.T
    values, errors = log_likelihood[:, first], std_error[:, first]
    inside, other = in_training[:, first], in_training[:, second]

    def over(known: BoolArray) -> Aggregate:
        return memorization_scores(values, errors, other, block, "mean-log", known)

    influence, joint = over(~inside), over(inside == other)
    own = memorization_scores(values, errors, inside, None, "mean-log", other)
    sides = np.stack([~inside & other, ~inside & ~other])
    blocks = np.unique(block)
    informed = np.stack([sides[:, block == one].any(1) for one in blocks]).sum(0)
    return pl.DataFrame(
        {
            "index": first,
            "neighbor": second,
            "with_neighbor": sides[0].sum(0),
            "with_neither": sides[1].sum(0),
            "influence": influence.memorization,
            "std_error": influence.std_error,
            "own": own.memorization,
            "joint": joint.memorization,
            "joint_std_error": joint.std_error,
            "freedom": _freedom(informed, len(blocks)),
        },
        nan_to_null=True,
    )


def _freedom(informed: IntArray, blocks: int) -> FloatArray:
    """Degrees of freedom of the difference of two means; NaN where one has fewer than two parts.

    Args:
        informed: Number of blocks with models on each side, (2, pairs).
        blocks: Number of all blocks.
    """
    count = np.where(informed > 1, informed, np.nan).astype(np.float64)
    shares = 1 / count
    freedom = np.square(shares.sum(0)) / (np.square(shares) / (count - 1)).sum(0)
    return np.asarray(np.minimum(freedom, blocks - 1))


def _tested(table: pl.DataFrame) -> pl.DataFrame:
    """Estimates with intervals, p-values, and marks of what is significant."""
    known = table.with_row_index("row").drop_nulls("std_error")
    row = known["row"].to_numpy()
    low, high, p_value = np.full((3, len(table)), np.nan)
    significant = np.zeros(len(table), np.bool_)
    if len(known):
        value, freedom = known["influence"].to_numpy(), known["freedom"].to_numpy()
        moderated, freedom = moderated_std_error(known["std_error"].to_numpy(), freedom)
        half = scipy.stats.t.ppf((1 + LEVEL) / 2, freedom) * moderated
        low[row], high[row] = value - half, value + half
        with np.errstate(over="ignore"):  # where no error is above 0
            p_value[row] = scipy.stats.t.sf(value / moderated, freedom)
        found = scipy.stats.false_discovery_control(p_value[row], method="bh")
        significant[row] = found <= RATE
    return table.with_columns(
        low=pl.Series(low, nan_to_null=True),
        high=pl.Series(high, nan_to_null=True),
        p_value=pl.Series(p_value, nan_to_null=True),
        significant=significant,
    )


def explained_by_neighbors(
    table: pl.DataFrame,
    distance: FloatArray,
    proven: BoolArray,
    memorization: FloatArray,
    threshold: float = THRESHOLD,
) -> pl.DataFrame:
    """Mark observations whose log density a near record explains.

    They owe more than the threshold to their neighbour, significantly so; and at most the threshold
    to themselves where it is in training, so that leaving them out alone shows little.

    Args:
        table: As `influences` returns it.
        distance: Distance of each pair, (pairs,).
        proven: Marks of neighbours that none is nearer than, (pairs,).
        memorization: Scores of all observations, (n,).
        threshold: Score above which an observation counts as memorized, nats.

    Returns:
        All columns of `INFLUENCE`.
    """
    much, little = pl.col("influence") > threshold, pl.col("own") <= threshold
    return table.with_columns(
        distance=pl.Series(distance),
        proven=pl.Series(proven),
        memorization=pl.Series(memorization[table["index"].to_numpy()]),
        explained=(pl.col("significant") & much & little).fill_null(False),
    ).select(*INFLUENCE)


def pairs_in_words(table: pl.DataFrame) -> str:
    """Say of how many pairs a design can tell the influence, and what to do where it cannot.

    Args:
        table: As `influences` returns it.

    Example:
        >>> columns = {"influence": [1.0, None], "std_error": [None, None]}
        >>> pairs_in_words(pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.Float64)))[:48]
        'Of 2 pairs of near records, models held out both'
    """
    pairs, some = len(table), table["influence"].count()
    errors = table["std_error"].count()
    words = f"Of {pairs:,} pairs of near records, models held out both of {some:,}"
    words += f", and the influence has an error for {errors:,}"
    if errors < pairs / 2:
        words += (
            ". For the others this design cannot tell whether one explains the other: subsets, as "
            "{kind: subsets, fraction: 0.5, models: 40}, can"
        )
    return words + "."
