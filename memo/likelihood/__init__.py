"""log p(x) with an error bar, for models that have it only as an integral."""

from memo.likelihood.calibration import EstimatorCheck, GroupCheck, compare_to_reference
from memo.likelihood.estimate import (
    draws_of_its_own,
    estimate_log_likelihood,
    left_out_log_likelihood,
)
from memo.likelihood.estimators.annealed import annealed_log_likelihood
from memo.likelihood.importance_weights import LogLikelihood, concatenate

__all__ = [
    "EstimatorCheck",
    "GroupCheck",
    "LogLikelihood",
    "annealed_log_likelihood",
    "compare_to_reference",
    "concatenate",
    "draws_of_its_own",
    "estimate_log_likelihood",
    "left_out_log_likelihood",
]
