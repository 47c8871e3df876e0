"""From log-likelihoods under many models to one memorization score for each observation.

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
from scipy.special import logsumexp

from memo.errors import WorkError

__all__ = ["Aggregate", "FloatArray", "ScoringError", "memorization_scores"]

FloatArray: TypeAlias = NDArray[np.float64]
Method: TypeAlias = Literal["paper", "balanced"]

GROUPS = 64
"""Random groups that a balanced mean is averaged over, at least."""


class ScoringError(WorkError):
    """Scores cannot be computed from these log-likelihoods; the message says why."""


@dataclass(frozen=True)
class Aggregate:
    """Scores of n observations, in nats; every array is (n,) but the last, (blocks, n)."""

    log_p_in: FloatArray
    log_p_out: FloatArray
    memorization: FloatArray
    std_error: FloatArray | None
    """None where there is one block: a jackknife needs two."""
    estimator_std_error: FloatArray
    """The part that comes from the likelihood estimator alone."""
    mean_log_likelihood_in: FloatArray
    mean_log_likelihood_out: FloatArray
    without_block: FloatArray
    """The scores recomputed without each block; (0, n) where there is one block."""


def memorization_scores(
    log_likelihood: FloatArray,
    std_error: FloatArray,
    in_training: NDArray[np.bool_],
    block: NDArray[np.int64] | None,
    method: Method,
) -> Aggregate:
    """Scores with standard errors, for any scheme of training sets.

    The standard error is the delete-one-block jackknife's (Efron & Tibshirani 1993, eq. 11.5),
    which sees both the randomness of training and that of the likelihood estimator; since few
    blocks estimate it roughly, it is never taken to be below the part that the estimator's own
    standard errors account for by the delta method.

    Args:
        log_likelihood: (models, n), nats.
        std_error: Standard error of each log-likelihood, (models, n).
        in_training: Which observations each model was trained on, (models, n).
        block: Which models belong together, (models,): in K-fold cross-validation the repeat. None
            where no training set and no training was drawn at random: the standard error is then
            the estimator's alone, and 0 where densities are exact.
        method: How densities are averaged; see above.

    Raises:
        ScoringError: An observation has no model with it, or none without it.
    """
    _require_both_sides(in_training)
    sides = _scores(log_likelihood, std_error, in_training, method)
    without = np.empty((0, log_likelihood.shape[1]))
    jackknife = sides.estimator_std_error if block is None else None
    blocks = np.unique(block) if block is not None else ()
    if len(blocks) > 1:
        kept = [block != left_out for left_out in blocks]
        for keep in kept:
            _require_both_sides(in_training[keep])
        without = np.stack(
            [
                _scores(log_likelihood[k], std_error[k], in_training[k], method).memorization
                for k in kept
            ]
        )
        jackknife = np.maximum(jackknife_std_error(without), sides.estimator_std_error)
    return Aggregate(
        sides.log_p_in,
        sides.log_p_out,
        sides.memorization,
        jackknife,
        sides.estimator_std_error,
        _mean_where(log_likelihood, in_training),
        _mean_where(log_likelihood, ~in_training),
        without,
    )


def jackknife_std_error(without_block: FloatArray) -> FloatArray:
    """sqrt((L - 1) / L sum_l (theta_(l) - mean theta)^2) over the first axis."""
    blocks = len(without_block)
    spread = np.square(without_block - without_block.mean(0)).sum(0)
    return np.asarray(np.sqrt((blocks - 1) / blocks * spread))


@dataclass(frozen=True)
class _Sides:
    log_p_in: FloatArray
    log_p_out: FloatArray
    memorization: FloatArray
    estimator_std_error: FloatArray


def _scores(
    log_likelihood: FloatArray,
    std_error: FloatArray,
    in_training: NDArray[np.bool_],
    method: Method,
) -> _Sides:
    n = log_likelihood.shape[1]
    means = np.empty((2, n))
    variances = np.empty((2, n))
    inside = in_training.sum(0)
    for count in np.unique(inside):
        columns = np.flatnonzero(inside == count)
        size = min(count, len(in_training) - count)
        for side, member in enumerate((in_training, ~in_training)):
            values, errors = (_members(a, member, columns) for a in (log_likelihood, std_error))
            terms = len(values) if method == "paper" else size
            means[side, columns], weights = _log_mean_over_groups(values, terms)
            variances[side, columns] = np.square(weights * errors).sum(0)
    return _Sides(means[0], means[1], means[0] - means[1], np.sqrt(variances.sum(0)))


def _members(
    values: FloatArray, member: NDArray[np.bool_], columns: NDArray[np.int64]
) -> FloatArray:
    """The values of the member models of each column, which have equally many: (members, g)."""
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
    mean = np.zeros(columns)
    gradient = np.zeros_like(values)
    for _ in range(groupings):
        order = stream.permutation(rows)[:used]
        grouped = values[order].reshape(groups, size, columns)
        total = logsumexp(grouped, axis=1)
        mean += (total - math.log(size)).mean(0)
        gradient[order] += np.exp(grouped - total[:, None]).reshape(used, columns) / groups
    return mean / groupings, gradient / groupings


def _mean_where(values: FloatArray, member: NDArray[np.bool_]) -> FloatArray:
    mean: FloatArray = np.where(member, values, 0.0).sum(0) / member.sum(0)
    return mean


def _require_both_sides(in_training: NDArray[np.bool_]) -> None:
    inside = in_training.sum(0)
    for what, count in (("with", inside), ("without", len(in_training) - inside)):
        lacking = np.flatnonzero(count == 0)
        if len(lacking):
            raise ScoringError(
                f"{len(lacking)} observations have no model trained {what} them "
                f"(the first is {lacking[0]})"
            )
