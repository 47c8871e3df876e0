"""log p(x) with an error bar, for models that have it only as an integral."""

from memo.likelihood.estimate import estimate_log_likelihood
from memo.likelihood.importance import LogLikelihood, importance_log_likelihood, log_mean_exp

__all__ = [
    "LogLikelihood",
    "estimate_log_likelihood",
    "importance_log_likelihood",
    "log_mean_exp",
]
