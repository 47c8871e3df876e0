"""log p(x) of any model, by the estimator that the spec names where there is no closed form."""

from typing import assert_never

import numpy as np
import torch
from torch import Tensor, nn

from memo.likelihood.adaptive import adaptive_log_likelihood
from memo.likelihood.importance import importance_log_likelihood
from memo.likelihood.weights import LogLikelihood
from memo.models import Density, LatentVariableModel
from memo.spec import AdaptiveSpec, ImportanceSpec, LikelihoodSpec

__all__ = ["estimate_log_likelihood"]


def estimate_log_likelihood(
    model: nn.Module, x: Tensor, spec: LikelihoodSpec, seed: int
) -> LogLikelihood:
    """log p(x) in nats with its standard error, under one model.

    Args:
        model: A `Density` (exact, standard error 0) or a `LatentVariableModel`.
        x: Observations, (n, *shape), on the model's device.
        spec: The estimator for latent-variable models.
        seed: Seed of the estimator's draws.

    Raises:
        TypeError: The model fills neither protocol.
    """
    if isinstance(model, Density):
        return _exact(model, x)
    if not isinstance(model, LatentVariableModel):
        raise TypeError(f"{type(model).__name__} is neither a Density nor a LatentVariableModel")
    match spec:
        case AdaptiveSpec():
            return adaptive_log_likelihood(model, x, spec.tolerance, spec.max_samples, seed)
        case ImportanceSpec():
            generator = torch.Generator().manual_seed(seed)
            return importance_log_likelihood(model, x, spec.samples, generator)
        case _:
            assert_never(spec)


@torch.no_grad()
def _exact(model: Density, x: Tensor) -> LogLikelihood:
    value = model.log_prob(x).to("cpu", torch.float64).numpy()
    zeros = np.zeros_like(value)
    return LogLikelihood(
        value, zeros, np.ones_like(value), np.zeros(len(value), dtype=np.int64), zeros
    )
