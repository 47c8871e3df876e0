"""From a spec to a model; and from weights in a file to a model that scores."""

import torch
from torch import nn

from memo.models.vae import VAE
from memo.spec import ModelSpec

__all__ = ["build_model", "initial_model"]


def build_model(spec: ModelSpec, shape: tuple[int, ...]) -> VAE:
    """The model that the spec describes, for observations of that shape, with weights to be set."""
    match spec.kind:
        case "vae":
            return VAE(spec, shape)


def initial_model(spec: ModelSpec, shape: tuple[int, ...], seed: int) -> nn.Module:
    """The model with initial weights that the seed alone determines; global state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(spec, shape)
