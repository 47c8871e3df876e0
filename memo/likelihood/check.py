"""Are the estimates of log p(x) right? Against a second method with a much larger budget."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from memo.likelihood.annealed import annealed_log_likelihood
from memo.likelihood.estimate import estimate_log_likelihood
from memo.likelihood.weights import LogLikelihood
from memo.models import LatentVariableModel
from memo.spec import LikelihoodSpec

__all__ = ["EstimatorCheck", "GroupCheck", "check_log_likelihood", "compare_to_reference"]


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


def check_log_likelihood(
    model: nn.Module,
    x: Tensor,
    in_training: NDArray[np.bool_],
    spec: LikelihoodSpec,
    seed: int,
    *,
    temperatures: int = 300,
    chains: int = 16,
) -> EstimatorCheck:
    """Compare the spec's estimates with annealed importance sampling.

    Args:
        model: The latent-variable model, in evaluation mode.
        x: Observations, (n, *shape), on the model's device.
        in_training: Which of them the model was trained on, (n,); at least two of each kind.
        spec: The estimator to check.
        seed: Seed of the estimates and of the reference, whose draws are independent.
        temperatures: See `annealed_log_likelihood`.
        chains: See `annealed_log_likelihood`.

    Raises:
        TypeError: The model is no `LatentVariableModel`; a `Density` needs no check.
        ValueError: Fewer than two observations in training or held out.
    """
    if not isinstance(model, LatentVariableModel):
        raise TypeError(f"{type(model).__name__} is not a LatentVariableModel")
    estimates_seed, reference_seed = np.random.SeedSequence(seed).generate_state(2).tolist()
    reference = annealed_log_likelihood(model, x, temperatures, chains, reference_seed)
    estimates = estimate_log_likelihood(model, x, spec, estimates_seed)
    return compare_to_reference(estimates, reference, in_training)


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
