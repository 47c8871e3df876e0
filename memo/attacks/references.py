"""Knowledge of an attacker: log-likelihoods of records under models with and without each."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray

from memo.scores.aggregate import FloatArray
from memo.scores.significance import prior_freedom

FEWEST_ON_A_SIDE = 10
"""Fewest reference models on both sides of a record for each side to have a variance of its own."""


@dataclass(frozen=True, eq=False)
class References:
    """Log-likelihoods of n records under reference models, and their moments on both sides.

    Moments are (n,), NaN where a record has no reference on that side.
    """

    log_likelihood: FloatArray
    """(references, n), nats."""
    in_training: NDArray[np.bool_]
    """(references, n)."""
    known: NDArray[np.bool_]
    """(references, n), True where there is a log-likelihood."""

    @cached_property
    def count_in(self) -> NDArray[np.int64]:
        """Number of references that were trained with each record."""
        return np.asarray((self.in_training & self.known).sum(0))

    @cached_property
    def count_out(self) -> NDArray[np.int64]:
        """Number of references that were trained without each record."""
        return np.asarray((~self.in_training & self.known).sum(0))

    @cached_property
    def mean_in(self) -> FloatArray:
        """Mean of log p over references with the record, nats."""
        return _mean(self.log_likelihood, self.in_training & self.known)

    @cached_property
    def mean_out(self) -> FloatArray:
        """Mean of log p over references without the record, nats."""
        return _mean(self.log_likelihood, ~self.in_training & self.known)

    @cached_property
    def variances(self) -> tuple[FloatArray, FloatArray]:
        """Variances of log p with and without each record, nats squared, moderated over records.

        Each side has its own where both have `FEWEST_ON_A_SIDE` references of some record;
        otherwise the two have one. With few references the variances of all records count for
        each, with many its own (`moderated_variance`): the choices between a variance of each
        record and one of all that Carlini et al. (2022, section VI-A) make by hand.
        """
        squares_in = _squares(self.log_likelihood, self.in_training & self.known, self.mean_in)
        squares_out = _squares(self.log_likelihood, ~self.in_training & self.known, self.mean_out)
        freedom_in = np.maximum(self.count_in - 1, 0)
        freedom_out = np.maximum(self.count_out - 1, 0)
        if min(freedom_in.max(initial=0), freedom_out.max(initial=0)) >= FEWEST_ON_A_SIDE - 1:
            return (
                moderated_variance(squares_in, freedom_in),
                moderated_variance(squares_out, freedom_out),
            )
        common = moderated_variance(squares_in + squares_out, freedom_in + freedom_out)
        return common, common

    @cached_property
    def log_mean_density(self) -> FloatArray:
        """Log of p(x) as RMIA takes it: the mean density over models with and without x, half each.

        NaN where a side has no reference.
        """
        with_record = _log_mean(self.log_likelihood, self.in_training & self.known)
        without = _log_mean(self.log_likelihood, ~self.in_training & self.known)
        with np.errstate(invalid="ignore"):  # of records without references on a side
            return np.asarray(np.logaddexp(with_record, without) - np.log(2))


def moderated_variance(squares: FloatArray, freedom: NDArray[np.int64]) -> FloatArray:
    """Variances of records, each drawn towards those of all (Smyth 2004, section 3).

    True variances are taken to be s0^2 d0 / chi^2(d0) over records; d0 and s0 are fitted to the
    mean and the variance of log s^2. Where records differ no more than chance makes them, d0 is
    infinite, and all have one variance; where each has many degrees of freedom, it has its own.

    Args:
        squares: Sums of squares around each record's means, (n,).
        freedom: Degrees of freedom of each, (n,); 0 where nothing is known of the record.

    Returns:
        (n,), above 0; 1 for all where nothing varies, so that records stand side by side.

    Example:
        >>> moderated_variance(np.array([8.0, 8.0, 0.0]), np.array([4, 4, 0])).tolist()
        [2.0, 2.0, 2.0]
    """
    known = (freedom > 0) & (squares > 0)
    if not known.any():
        return np.ones_like(squares)
    own = np.divide(squares, freedom, out=np.zeros_like(squares), where=freedom > 0)
    own = np.maximum(own, own[known].min())  # a variance of 0 is one that was not seen
    seen = freedom > 0
    half = freedom[seen] / 2
    logs = np.log(own[seen]) - scipy.special.digamma(half) + np.log(half)
    prior, offset = np.inf, 0.0
    if len(logs) > 1:
        prior, offset = prior_freedom(float(logs.var(ddof=1)), freedom[seen])
    if np.isinf(prior):
        return np.full_like(squares, float(squares.sum() / freedom.sum()))
    level = float(np.exp(logs.mean() + offset))
    return np.asarray((prior * level + freedom * own) / (prior + freedom))


def _mean(values: FloatArray, chosen: NDArray[np.bool_]) -> FloatArray:
    count = chosen.sum(0)
    total = np.einsum("mn,mn->n", values, chosen)
    mean: FloatArray = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return mean


def _squares(values: FloatArray, chosen: NDArray[np.bool_], mean: FloatArray) -> FloatArray:
    distance = np.where(chosen, values - mean, 0.0)
    return np.asarray(np.einsum("mn,mn->n", distance, distance))


def _log_mean(values: FloatArray, chosen: NDArray[np.bool_]) -> FloatArray:
    count = chosen.sum(0)
    top = np.where(chosen, values, -np.inf).max(0, initial=-np.inf)
    top[count == 0] = 0.0
    total = np.where(chosen, np.exp(np.minimum(values - top, 0.0)), 0.0).sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):  # of records without any
        found = np.log(total) + top - np.log(count)
    return np.where(count > 0, found, np.nan)
