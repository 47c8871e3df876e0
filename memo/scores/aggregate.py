"""Memorization scores from log-likelihoods under many models.

With w_i models that had observation i in their training set and v_i that did not,

    U_i = mean_in log p(x_i),   V_i = mean_out log p(x_i),   M_i = U_i - V_i

(`mean-log`, the default): the expected log density with the observation minus that without it.
Both means are unbiased for any number of models, so that scores do not move with the number of
repeats, and designs can be compared.

`paper` takes logs of mean densities instead (van den Burg & Williams 2021, Algorithm 1). The log
of a mean of m terms reads low, by Var(p) / (2 m E[p]^2) to first order and by far more where log p
varies by several nats between models: a few models with a high density then decide it, and no
affordable number of trainings estimates it. The two agree where models differ little.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
Method: TypeAlias = Literal["mean-log", "paper"]


@dataclass(frozen=True)
class Aggregate:
    """Scores of n observations, in nats; every array is (n,) but `without_block`, (blocks, n).

    An observation that has no model on one side has NaN everywhere.
    """

    method: Method

    log_p_in: FloatArray
    log_p_out: FloatArray
    memorization: FloatArray
    std_error: FloatArray
    """NaN where no jackknife can be taken: all models of a side are in one block."""
    estimator_std_error: FloatArray
    """Part of the standard error that comes from the likelihood estimator alone."""
    memorization_paper: FloatArray
    """Scores by the method `paper`, whatever `method` is."""
    mean_log_likelihood_in: FloatArray
    mean_log_likelihood_out: FloatArray
    without_block: FloatArray
    """Scores recomputed without each block, NaN where `std_error` is; (0, n) where there is one
    block."""


def memorization_scores(
    log_likelihood: FloatArray,
    std_error: FloatArray,
    in_training: NDArray[np.bool_],
    block: NDArray[np.int64] | None,
    method: Method,
    known: NDArray[np.bool_] | None = None,
) -> Aggregate:
    """Scores with standard errors, for any scheme of training sets.

    The standard error is the delete-one-block jackknife's (Efron & Tibshirani 1993, eq. 11.5),
    which sees both the randomness of training and that of the likelihood estimator; since few
    blocks estimate it roughly, it is never taken to be below the part that the estimator's own
    standard errors account for by the delta method. For an observation that does not have both
    sides in every block, it is the jackknife of a sample in two strata (Jones 1974).

    Args:
        log_likelihood: (models, n), nats.
        std_error: Standard error of each log-likelihood, (models, n).
        in_training: Marks of the observations that each model was trained on, (models, n).
        block: Jackknife block of each model, (models,): in K-fold cross-validation its repeat.
            None where no training set and no training was drawn at random: the standard error is
            then the estimator's alone, and 0 where densities are exact.
        method: `mean-log` or `paper` (see the module's docstring).
        known: Marks of the log-likelihoods that there are, (models, n); all of them when None.

    Example:
        A density of 1/2 at x with x in training and of 1/8 without: x owes log 4 to itself.

        >>> log_p, in_training = np.log([[0.5], [0.125]]), np.array([[True], [False]])
        >>> scores = memorization_scores(log_p, 0 * log_p, in_training, None, "mean-log")
        >>> np.exp(scores.memorization).round(12).tolist(), scores.std_error.tolist()
        ([4.0], [0.0])
    """
    known = np.ones_like(in_training) if known is None else known
    sides = np.stack([in_training & known, ~in_training & known])
    side_means = _mean_logs if method == "mean-log" else _log_means
    means, weights = side_means(log_likelihood, sides)
    estimator = np.sqrt(np.square(weights * std_error).sum((0, 1)))
    estimator[np.isnan(means).any(0)] = np.nan
    without = np.empty((0, log_likelihood.shape[1]))
    jackknife = estimator if block is None else np.full_like(estimator, np.nan)
    kept = [] if block is None else [block != left_out for left_out in np.unique(block)]
    if len(kept) > 1:
        replicates = [side_means(log_likelihood[k], sides[:, k])[0] for k in kept]
        inside, outside = (
            _side_without(side, kept, [means[place] for means in replicates])
            for place, side in enumerate(sides)
        )
        without = inside - outside
        jackknife = np.maximum(jackknife_std_error(without), estimator)
    paper = _log_means(log_likelihood, sides)[0]
    return Aggregate(
        method=method,
        log_p_in=means[0],
        log_p_out=means[1],
        memorization=means[0] - means[1],
        std_error=jackknife,
        estimator_std_error=estimator,
        memorization_paper=paper[0] - paper[1],
        mean_log_likelihood_in=_mean_where(log_likelihood, sides[0]),
        mean_log_likelihood_out=_mean_where(log_likelihood, sides[1]),
        without_block=without,
    )


def _side_without(
    member: NDArray[np.bool_], kept: list[NDArray[np.bool_]], replicates: list[FloatArray]
) -> FloatArray:
    """log p of one side without each block, (blocks, n), NaN where all of it is in one block.

    Where a side has models in l of the L blocks only, its stratum has l parts: the replicates'
    distances from their mean are scaled, so that the jackknife of L blocks takes them with
    (l - 1) / l instead of (L - 1) / L, and the other replicates stand at that mean.
    """
    values = np.stack(replicates)
    informed = np.stack([member[~keep].any(0) for keep in kept])
    count, blocks = informed.sum(0), len(kept)
    some = np.flatnonzero((count > 1) & (count < blocks))
    share = np.sqrt((1 - 1 / count[some]) / (1 - 1 / blocks))
    mean = np.where(informed, values, 0.0).sum(0)[some] / count[some]
    values[:, some] = mean + np.where(informed[:, some], share * (values[:, some] - mean), 0.0)
    values[:, count < 2] = np.nan
    return values


def jackknife_std_error(without_block: FloatArray) -> FloatArray:
    """sqrt((L - 1) / L sum_l (theta_(l) - mean theta)^2) over the first axis."""
    blocks = len(without_block)
    spread = np.square(without_block - without_block.mean(0)).sum(0)
    return np.asarray(np.sqrt((blocks - 1) / blocks * spread))


def _mean_logs(
    log_likelihood: FloatArray, sides: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    """Mean of log p over the models of each side, and its derivatives.

    Args:
        log_likelihood: (models, n).
        sides: Marks of the models with and without each observation, (2, models, n).

    Returns:
        (2, n), NaN on both sides where one has no model, and (2, models, n).
    """
    counts = _counts(sides)
    sums = np.where(sides, log_likelihood, 0.0).sum(1)
    return np.asarray(sums / counts), np.asarray(sides / counts[:, None])


def _log_means(
    log_likelihood: FloatArray, sides: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    """Log of the mean of p over the models of each side, and its derivatives; as `_mean_logs`."""
    counts = _counts(sides)
    values = np.where(sides, log_likelihood, -np.inf)
    top = values.max(1, keepdims=True)
    parts = np.exp(values - np.where(np.isfinite(top), top, 0.0))
    total = parts.sum(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):  # of log p = -inf under all of a side
        means, shares = (np.log(total) + top)[:, 0] - np.log(counts), parts / total
    return np.asarray(means), np.asarray(shares)


def _counts(sides: NDArray[np.bool_]) -> FloatArray:
    """Models of each side, (2, n); NaN on both where one has none."""
    counts: FloatArray = sides.sum(1).astype(np.float64)
    counts[:, ~counts.all(0)] = np.nan
    return counts


def _mean_where(values: FloatArray, member: NDArray[np.bool_]) -> FloatArray:
    count = member.sum(0)
    mean: FloatArray = np.where(member, values, 0.0).sum(0) / np.where(count, count, np.nan)
    return mean
