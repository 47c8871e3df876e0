"""From a spec to a model; and from weights in a file to a model that scores."""

import torch
from torch import nn

from memo.models.custom import build_custom
from memo.models.flow import Flow
from memo.models.gaussian_mixture import GaussianMixture
from memo.models.kde import KDE
from memo.models.normal import Normal
from memo.models.vae import VAE
from memo.spec.model_specs import (
    CustomSpec,
    FlowSpec,
    GaussianMixtureSpec,
    KDESpec,
    ModelSpec,
    NormalSpec,
    VAESpec,
)

__all__ = ["build_model", "initial_model"]


def build_model(spec: ModelSpec, shape: tuple[int, ...]) -> nn.Module:
    """The model that the spec describes, for observations of that shape, with weights to be set.

    Raises:
        ValueError: The model is not made for observations of that shape.
        CodeError: A model of the user's own cannot be built.
    """
    match spec:
        case VAESpec():
            return VAE(spec, shape)
        case NormalSpec():
            return Normal(spec, shape)
        case KDESpec():
            return KDE(spec, shape)
        case GaussianMixtureSpec():
            return GaussianMixture(spec, shape)
        case FlowSpec():
            return Flow(spec, shape)
        case CustomSpec():
            return build_custom(spec, shape)


def initial_model(spec: ModelSpec, shape: tuple[int, ...], seed: int) -> nn.Module:
    """The model with initial weights that the seed alone determines; global state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(spec, shape)
