"""Bias and calibration of estimates of log p(x), against a second method with a larger budget."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memo.likelihood.importance_weights import LogLikelihood

TWO_SIDED = 1.96
"""Standard errors either side that hold 95% of a normal distribution."""


@dataclass(frozen=True)
class GroupCheck:
    """Differences of estimates of log p(x) from the reference, over one group of observations."""

    observations: int

    bias: float
    """Mean of estimate - reference, nats."""

    bias_std_error: float
    """Standard error of the bias over observations, nats."""

    scatter: float
    """Standard deviation of estimate - reference, nats; the reference's own error is in it."""

    z_mean: float
    z_std: float
    """Mean and standard deviation of (estimate - reference) / their joint standard error.

    0 and 1 where standard errors are right.
    """

    covered: float
    """Share of estimates within 1.96 joint standard errors of the reference: 0.95 where standard
    errors are right and errors normal, and the most that intervals made of them alone can hold."""

    reference_std_error: float
    """Root mean square of the reference's standard errors, nats."""


@dataclass(frozen=True)
class EstimatorCheck:
    """The check of an estimator, in training and held out.

    A difference between the two biases memorization scores.
    """

    in_training: GroupCheck
    held_out: GroupCheck

    @property
    def bias_difference(self) -> float:
        """Bias in training minus bias held out, nats: the bias of memorization scores."""
        return self.in_training.bias - self.held_out.bias

    @property
    def bias_difference_std_error(self) -> float:
        """Standard error of `bias_difference`, nats."""
        return float(np.hypot(self.in_training.bias_std_error, self.held_out.bias_std_error))


def compare_to_reference(
    estimates: LogLikelihood, reference: LogLikelihood, in_training: NDArray[np.bool_]
) -> EstimatorCheck:
    """Bias, scatter and calibration of estimates of the same observations as the reference.

    Args:
        estimates: Estimates for n observations.
        reference: Estimates for the same ones by another method.
        in_training: True for those that the model was trained on, (n,).

    Raises:
        ValueError: Fewer than two observations in training or held out.

    >>> def estimates(values):
    ...     error = np.full(4, 0.1)
    ...     return LogLikelihood(np.array(values), error, error, np.ones(4, dtype=int), error)
    >>> high = estimates([-1.0, -1.0, -2.5, -2.5])
    >>> check = compare_to_reference(high, estimates([-1.0, -1.0, -3.0, -3.0]), np.arange(4) < 2)
    >>> check.held_out.bias, check.bias_difference
    (0.5, -0.5)
    """
    if min(np.count_nonzero(in_training), np.count_nonzero(~in_training)) < 2:
        raise ValueError("a check needs at least two observations in training and two held out")
    return EstimatorCheck(
        _compare(estimates, reference, in_training), _compare(estimates, reference, ~in_training)
    )


def _compare(
    estimates: LogLikelihood, reference: LogLikelihood, rows: NDArray[np.bool_]
) -> GroupCheck:
    error = estimates.value[rows] - reference.value[rows]
    joint = np.hypot(estimates.std_error[rows], reference.std_error[rows])
    z = error / np.maximum(joint, np.finfo(np.float64).tiny)
    scatter = float(error.std(ddof=1))
    return GroupCheck(
        observations=len(error),
        bias=float(error.mean()),
        bias_std_error=scatter / len(error) ** 0.5,
        scatter=scatter,
        z_mean=float(z.mean()),
        z_std=float(z.std(ddof=1)),
        covered=float((np.abs(z) <= TWO_SIDED).mean()),
        reference_std_error=float(np.sqrt(np.mean(reference.std_error[rows] ** 2))),
    )
