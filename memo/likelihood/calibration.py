"""Are estimates of log p(x) right? Against a second method with a much larger budget."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memo.likelihood.importance_weights import LogLikelihood

__all__ = ["EstimatorCheck", "GroupCheck", "compare_to_reference"]


@dataclass(frozen=True)
class GroupCheck:
    """How estimates of log p(x) differ from the reference, over one group of observations."""

    observations: int

    bias: float
    """Mean of estimate - reference, nats."""

    bias_std_error: float
    """Its standard error over observations, nats."""

    scatter: float
    """Standard deviation of estimate - reference, nats; the reference's own error is in it."""

    z_mean: float
    z_std: float
    """Mean and standard deviation of (estimate - reference) / their joint standard error.

    0 and 1 where standard errors are right.
    """

    reference_std_error: float
    """Root mean square of the reference's standard errors, nats."""


@dataclass(frozen=True)
class EstimatorCheck:
    """The check of an estimator, in training and held out: what differs biases memorization."""

    in_training: GroupCheck
    held_out: GroupCheck

    @property
    def bias_difference(self) -> float:
        """Bias in training minus bias held out, nats: what it adds to memorization scores."""
        return self.in_training.bias - self.held_out.bias

    @property
    def bias_difference_std_error(self) -> float:
        """Its standard error, nats."""
        return float(np.hypot(self.in_training.bias_std_error, self.held_out.bias_std_error))


def compare_to_reference(
    estimates: LogLikelihood, reference: LogLikelihood, in_training: NDArray[np.bool_]
) -> EstimatorCheck:
    """Bias, scatter and calibration of estimates of the same observations as the reference.

    Raises:
        ValueError: Fewer than two observations in training or held out.
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
        reference_std_error=float(np.sqrt(np.mean(reference.std_error[rows] ** 2))),
    )
