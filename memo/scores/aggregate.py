"""Memorization scores from log-likelihoods under many models.

With w_i models that had observation i in their training set and v_i that did not,

    U_i = log mean_in p(x_i),   V_i = log mean_out p(x_i),   M_i = U_i - V_i

(van den Burg & Williams 2021, Algorithm 1). The log of a mean of m terms reads low, by
Var(p) / (2 m E[p]^2) to first order and by far more where log p varies by several nats between
models. In K-fold cross-validation U has K - 1 times as many terms as V, so V reads lower than U
and M is inflated. `balanced` compares like with like, as rarefaction does with the number of
species in samples of unequal size (Hurlbert 1971): both sides are logs of means over groups of
m = min(w_i, v_i) models, averaged over disjoint groups and several random groupings. Where the
density varies alike on both sides, the two biases are then equal and cancel in the difference,
to every order; what is left is half the difference of the two relative variances, over m.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
Method: TypeAlias = Literal["paper", "balanced"]

GROUPS = 64
"""Least number of random groups that a balanced mean is averaged over."""

AT_ONCE = 1 << 20
"""Terms of such means in memory at a time, roughly."""


@dataclass(frozen=True)
class Aggregate:
    """Scores of n observations, in nats; every array is (n,) but the last, (blocks, n).

    An observation that has no model on one side has NaN everywhere.
    """

    log_p_in: FloatArray
    log_p_out: FloatArray
    memorization: FloatArray
    std_error: FloatArray
    """NaN where no jackknife can be taken: all models of a side are in one block."""
    estimator_std_error: FloatArray
    """Part of the standard error that comes from the likelihood estimator alone."""
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
        method: Mean of densities over models: `paper` over all of each side, `balanced` over
            groups of equal size on both sides (see the module's docstring).
        known: Marks of the log-likelihoods that there are, (models, n); all of them when None.

    Example:
        A density of 1/2 at x with x in training and of 1/8 without: x owes log 4 to itself.

        >>> log_p, in_training = np.log([[0.5], [0.125]]), np.array([[True], [False]])
        >>> scores = memorization_scores(log_p, 0 * log_p, in_training, None, "paper")
        >>> np.exp(scores.memorization).round(12).tolist(), scores.std_error.tolist()
        ([4.0], [0.0])
    """
    known = np.ones_like(in_training) if known is None else known
    sides = np.stack([in_training & known, ~in_training & known])
    means, variances = _log_mean_densities(log_likelihood, std_error, sides, method)
    estimator = np.sqrt(variances.sum(0))
    without = np.empty((0, log_likelihood.shape[1]))
    jackknife = estimator if block is None else np.full_like(estimator, np.nan)
    kept = [] if block is None else [block != left_out for left_out in np.unique(block)]
    if len(kept) > 1:
        replicates = [
            _log_mean_densities(log_likelihood[k], std_error[k], sides[:, k], method)[0]
            for k in kept
        ]
        inside, outside = (
            _side_without(side, kept, [means[place] for means in replicates])
            for place, side in enumerate(sides)
        )
        without = inside - outside
        jackknife = np.maximum(jackknife_std_error(without), estimator)
    return Aggregate(
        log_p_in=means[0],
        log_p_out=means[1],
        memorization=means[0] - means[1],
        std_error=jackknife,
        estimator_std_error=estimator,
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


def _log_mean_densities(
    log_likelihood: FloatArray, std_error: FloatArray, sides: NDArray[np.bool_], method: Method
) -> tuple[FloatArray, FloatArray]:
    """U and V, and the variances that the estimator's errors give them: (2, n) each.

    Args:
        log_likelihood: (models, n).
        std_error: (models, n).
        sides: Marks of the models with and without each observation, (2, models, n).
        method: See `memorization_scores`.
    """
    counts = sides.sum(1)
    means, variances = np.full((2, *counts.shape), np.nan)
    for pair in np.unique(counts, axis=1).T:
        if not pair.all():
            continue
        columns = np.flatnonzero((counts == pair[:, None]).all(0))
        for side, member in enumerate(sides):
            values, errors = (_members(a, member, columns) for a in (log_likelihood, std_error))
            terms = len(values) if method == "paper" else int(pair.min())
            means[side, columns], weights = _log_mean_over_groups(values, terms)
            variances[side, columns] = np.square(weights * errors).sum(0)
    return means, variances


def _members(
    values: FloatArray, member: NDArray[np.bool_], columns: NDArray[np.int64]
) -> FloatArray:
    """Values of the member models of some columns, all of equally many: (members, columns)."""
    chosen = member[:, columns]
    return values[:, columns].T[chosen.T].reshape(len(columns), -1).T


def _log_mean_over_groups(values: FloatArray, size: int) -> tuple[FloatArray, FloatArray]:
    """Mean over groups of `size` rows of the log of the mean of exp(values), and its gradient.

    Args:
        values: (N, g).
        size: Rows in a group, at most N.

    Returns:
        The means, (g,), and their derivatives with respect to the values, (N, g).
    """
    rows, columns = values.shape
    groups = rows // size
    stream = np.random.Generator(np.random.PCG64(rows))
    groupings = 1 if size in (1, rows) else math.ceil(GROUPS / groups)
    used = rows if size == 1 else groups * size
    orders = np.stack([stream.permutation(rows)[:used] for _ in range(groupings)])
    width = max(1, AT_ONCE // orders.size)
    parts = [
        _over_groups(values[:, start : start + width], orders, size)
        for start in range(0, columns, width)
    ]
    mean, gradient = (np.concatenate(arrays, axis=-1) for arrays in zip(*parts, strict=True))
    return mean, gradient


def _over_groups(
    values: FloatArray, orders: NDArray[np.int64], size: int
) -> tuple[FloatArray, FloatArray]:
    """`_log_mean_over_groups` for given groups: every `size` rows of each order are one."""
    groupings, used = orders.shape
    groups = used // size
    grouped = values[orders].reshape(groupings, groups, size, -1)
    top = grouped.max(2, keepdims=True)
    parts = np.exp(grouped - np.where(np.isfinite(top), top, 0))
    total = parts.sum(2, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):  # of log p = -inf under all of a group
        mean = (np.log(total / size) + top).mean((1, 2)).sum(0) / groupings
        shares = (parts / total).reshape(groupings, used, -1) / groups
    gradient = np.zeros_like(values)
    for order, share in zip(orders, shares, strict=True):
        gradient[order] += share
    return mean, gradient / groupings


def _mean_where(values: FloatArray, member: NDArray[np.bool_]) -> FloatArray:
    count = member.sum(0)
    mean: FloatArray = np.where(member, values, 0.0).sum(0) / np.where(count, count, np.nan)
    return mean
