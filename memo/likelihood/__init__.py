"""log p(x) with an error bar, for models that have it only as an integral."""

from memo.likelihood.check import EstimatorCheck, GroupCheck, check_log_likelihood
from memo.likelihood.estimate import estimate_log_likelihood, left_out_log_likelihood
from memo.likelihood.weights import LARGEST_PARETO_K, LogLikelihood

__all__ = [
    "LARGEST_PARETO_K",
    "EstimatorCheck",
    "GroupCheck",
    "LogLikelihood",
    "check_log_likelihood",
    "estimate_log_likelihood",
    "left_out_log_likelihood",
]
