"""log p(x) of any model, by the estimator that the spec names where there is no closed form."""

import math
from itertools import chain
from typing import assert_never, cast

import numpy as np
import torch
from torch import Tensor, nn

from memo.likelihood.estimators.adaptive import adaptive_log_likelihood
from memo.likelihood.estimators.importance import importance_log_likelihood
from memo.likelihood.estimators.own_draws import drawn_log_likelihood
from memo.likelihood.importance_weights import LogLikelihood
from memo.models.protocols import ClosedForm, Density, Estimated, is_latent_variable_model
from memo.models.resolution import DependenceError, precision_of, require_resolved
from memo.spec.scoring_specs import AdaptiveSpec, ImportanceSpec, OwnLikelihoodSpec


def estimate_log_likelihood(
    model: nn.Module, x: Tensor, spec: OwnLikelihoodSpec, seed: int, coarsest: float = math.inf
) -> LogLikelihood:
    """log p(x) in nats with its standard error, under one model.

    Args:
        model: A `Density` (exact, standard error 0), a `LatentVariableModel`, or an `Estimated`;
            the first that it is, if several.
        x: Observations, (n, *shape), on the model's device.
        spec: The estimator for latent-variable models; the number of draws for an `Estimated`.
        seed: Seed of the estimator's draws.
        coarsest: Nats that neighbouring numbers of the type that log p is computed in may lie
            apart, at most.

    Raises:
        TypeError: The model fills none of the protocols.
        ResolutionError: They lie farther apart.
        DependenceError: log p of an observation by itself is another one than among the others,
            or changes the model.

    For x = z + noise, both standard normal, p(x) = N(x; 0, 2):

    >>> from memo.models.observations.gaussian import Gaussian
    >>> class Sum(nn.Module):
    ...     latent, observation = 1, Gaussian((1,))
    ...     def encode(self, x):
    ...         return torch.zeros_like(x), torch.zeros_like(x)
    ...     def decode(self, z):
    ...         return z
    >>> x = torch.tensor([[0.0], [3.0]])
    >>> exact = torch.distributions.Normal(0, 2**0.5).log_prob(x[:, 0]).numpy()
    >>> estimate = estimate_log_likelihood(Sum(), x, AdaptiveSpec(kind="adaptive"), seed=0)
    >>> np.allclose(estimate.value, exact, atol=1e-5)
    True
    >>> spec = ImportanceSpec(kind="importance", samples=1000)
    >>> estimate = estimate_log_likelihood(Sum(), x, spec, seed=0)
    >>> bool((abs(estimate.value - exact) < 3 * estimate.std_error).all())
    True
    """
    before = _tensors(model)
    estimate = _estimate(model, x, spec, seed, coarsest)
    after = _tensors(model)
    changed = [
        name
        for name, tensor in after.items()
        if name not in before or not torch.equal(tensor.nan_to_num(), before[name].nan_to_num())
    ]
    if changed:
        raise DependenceError(
            f"log p of {len(x)} observations changes {', '.join(map(repr, changed[:5]))} of the "
            "model, held-out observations setting what they are scored by: what comes from the "
            "data belongs into `initialize(x)`"
        )
    return estimate


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Copy the parameters and buffers of a model."""
    if not isinstance(model, nn.Module):
        return {}
    named = chain(model.named_parameters(), model.named_buffers())
    return {name: tensor.detach().clone() for name, tensor in named}


def _estimate(
    model: nn.Module, x: Tensor, spec: OwnLikelihoodSpec, seed: int, coarsest: float
) -> LogLikelihood:
    if isinstance(model, Density):
        with torch.no_grad():
            log_prob = model.log_prob(x).detach()
            if math.isfinite(coarsest):
                _require_own(model, x, log_prob)
        return _exact(log_prob, coarsest)
    estimate = _estimated(model, x, spec, seed)
    if math.isfinite(coarsest):
        require_resolved(estimate.value, _type_of_terms(model, x[:1]), coarsest)
    return estimate


def _require_own(model: Density, x: Tensor, log_prob: Tensor) -> None:
    """See that a few observations have the same log p by themselves as among all."""
    for row in {0, len(x) // 2, len(x) - 1}:
        alone = model.log_prob(x[row : row + 1])[0].double()
        among = log_prob[row].double()
        if not torch.isclose(alone, among, rtol=1e-4, atol=0.01, equal_nan=True):
            raise DependenceError(
                f"log p of an observation is {float(alone):.6g} by itself and {float(among):.6g} "
                f"among {len(x)}: it must not depend on what stands beside it, nor on what was "
                "seen before"
            )


def _estimated(model: nn.Module, x: Tensor, spec: OwnLikelihoodSpec, seed: int) -> LogLikelihood:
    if draws_of_its_own(model):
        return drawn_log_likelihood(cast(Estimated, model), x, spec, seed)
    if not is_latent_variable_model(model):
        raise TypeError(f"{type(model).__name__} is no Density, LatentVariableModel or Estimated")
    match spec:
        case AdaptiveSpec():
            return adaptive_log_likelihood(model, x, spec.tolerance, spec.max_samples, seed)
        case ImportanceSpec():
            return importance_log_likelihood(model, x, spec.samples, seed)
        case _:
            assert_never(spec)


@torch.no_grad()
def _type_of_terms(model: nn.Module, x: Tensor) -> torch.dtype:
    """The type of the terms whose mean is taken."""
    if is_latent_variable_model(model):
        mean, _ = model.encode(x)
        return model.observation.log_prob(x, model.decode(mean)).dtype
    own = cast(Estimated, model)
    return own.log_prob_draw(x, x.new_zeros(len(x), own.noise_features)).dtype


def draws_of_its_own(model: nn.Module) -> bool:
    """True where log p(x) is a mean of the model's own draws, which all models then share.

    >>> class Bound(nn.Module):
    ...     noise_features = 2
    ...     def log_prob_draw(self, x, noise):
    ...         return -(x - noise).square().sum(1)
    >>> draws_of_its_own(Bound()), draws_of_its_own(nn.Identity())
    (True, False)
    """
    return (
        isinstance(model, Estimated)
        and not isinstance(model, Density)
        and not is_latent_variable_model(model)
    )


@torch.no_grad()
def left_out_log_likelihood(
    model: nn.Module, x: Tensor, coarsest: float = math.inf
) -> LogLikelihood:
    """log p(x_i | D without i) in nats, exactly, of the observations that a model was fitted to.

    Args:
        model: A `ClosedForm`, fitted to x.
        x: All the observations D, (n, *shape), on the model's device.
        coarsest: As of `estimate_log_likelihood`.

    Raises:
        TypeError: The model has no closed form for it.
        ResolutionError: Neighbouring numbers lie farther apart.
        FitError: There is no fit without one of the observations.

    It is the log density of each observation under a fit to the others:

    >>> from memo.models.normal import Normal
    >>> from memo.spec.model_specs import NormalSpec
    >>> x = torch.tensor([[0.0], [1.0], [2.0], [7.0]])
    >>> model = Normal(NormalSpec(kind="normal"), (1,))
    >>> model.fit(x)
    >>> left_out = left_out_log_likelihood(model, x)
    >>> model.fit(x[:3])
    >>> np.isclose(left_out.value[3], model.log_prob(x[3:]).item())
    np.True_
    """
    if not isinstance(model, ClosedForm):
        raise TypeError(f"{type(model).__name__} has no leave-one-out density in closed form")
    return _exact(model.leave_one_out_log_prob(x), coarsest)


def _exact(log_prob: Tensor, coarsest: float) -> LogLikelihood:
    value = log_prob.detach().to("cpu", torch.float64).numpy()
    dtype = precision_of(log_prob) if math.isfinite(coarsest) else log_prob.dtype
    require_resolved(value, dtype, coarsest)
    zeros = np.zeros_like(value)
    return LogLikelihood(value, zeros, zeros + 1, np.zeros(len(value), dtype=np.int64), zeros)
