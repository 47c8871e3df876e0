"""Models from specs, with initial weights or with weights to be loaded."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from memo.models.custom import build_custom
from memo.models.flow import Flow
from memo.models.gan import GAN
from memo.models.gaussian_mixture import GaussianMixture
from memo.models.kde import KDE
from memo.models.normal import Normal
from memo.models.vae import VAE
from memo.spec.model_specs import ModelSpec

FAMILIES: dict[str, Callable[[Any, tuple[int, ...]], nn.Module]] = {
    "vae": VAE,
    "normal": Normal,
    "kde": KDE,
    "gaussian-mixture": GaussianMixture,
    "flow": Flow,
    "gan": GAN,
    "custom": build_custom,
}
"""Constructor of each family, from its spec and the shape of an observation, by the spec's kind."""


def build_model(spec: ModelSpec, shape: tuple[int, ...]) -> nn.Module:
    """Build the model that a spec describes, its weights to be set.

    Args:
        spec: A model spec.
        shape: Shape of an observation.

    Raises:
        ValueError: The model is not made for observations of that shape.
        CodeError: A model of the user's own cannot be built.

    Example:
        A normal density is standard until it is fitted: log p(0) = -log 2 pi in two dimensions.

        >>> import math
        >>> from memo.spec.model_specs import NormalSpec
        >>> model = build_model(NormalSpec(kind="normal"), shape=(2,))
        >>> math.isclose(model.log_prob(torch.zeros(1, 2)), -math.log(2 * math.pi))
        True
    """
    return FAMILIES[spec.kind](spec, shape)


def initial_model(spec: ModelSpec, shape: tuple[int, ...], seed: int) -> nn.Module:
    """Build a model with initial weights that the seed alone determines.

    torch's global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(spec, shape)
