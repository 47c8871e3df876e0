"""Rows of numbers that stand for observations and samples, in the space that a spec names."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from memo.datasets.pictures import observed_pixels, sampled_pixels
from memo.datasets.prepared import Prepared
from memo.design.k_fold import IndexArray
from memo.models.protocols import is_latent_variable_model
from memo.samples.spaces import (
    Embedding,
    EmbeddingError,
    downsampled,
    embed,
    flattened,
    imported_embedding,
)
from memo.samples.vision_network import content_of, vision_embedding
from memo.spec.base import Support
from memo.spec.sample_specs import (
    CustomSpaceSpec,
    DownsampledSpaceSpec,
    EncoderSpaceSpec,
    PixelSpaceSpec,
    SpaceSpec,
    VisionSpaceSpec,
)
from memo.spec.sampled_likelihood_specs import (
    DensitySpaceSpec,
    PrincipalSpaceSpec,
    ValuesSpaceSpec,
)
from memo.training.device import default_device, one_thread

BATCH = 512
"""Rows embedded at a time."""

Values = NDArray[Any]


@dataclass(frozen=True)
class FeatureSpace:
    """Rows that distances are measured between, of observations by index and of samples."""

    observed: Callable[[IndexArray], Tensor]
    sampled: Callable[[Values], Tensor]


def feature_space(
    data: Prepared,
    support: Support | None,
    space: SpaceSpec | DensitySpaceSpec,
    encoder: Callable[[], nn.Module],
) -> FeatureSpace:
    """Make the space that a spec names.

    Args:
        data: The observations.
        support: Values that the model's density is defined on.
        space: Spec of the space.
        encoder: Gives the model whose encoder makes a space.

    Raises:
        EmbeddingError: The space cannot be had for these observations, or of this model.
    """
    embedding: Embedding
    match space:
        case EncoderSpaceSpec():
            return _of_values(data, _encoder(encoder()))
        case ValuesSpaceSpec():
            return _of_values(data, _pairs if support == "binary" else flattened)
        case PixelSpaceSpec():
            embedding = flattened
        case DownsampledSpaceSpec():
            embedding = downsampled
        case PrincipalSpaceSpec(components=components):
            embedding = _principal(data, flattened, components)
        case VisionSpaceSpec():
            embedding = _of_network(data, space)
        case CustomSpaceSpec(target=target):
            embedding = imported_embedding(target)
    return FeatureSpace(
        lambda index: _embedded(embedding, lambda part: observed_pixels(data, part), index),
        lambda samples: _embedded(embedding, lambda part: sampled_pixels(data, part), samples),
    )


def _of_values(data: Prepared, embedding: Embedding) -> FeatureSpace:
    return FeatureSpace(
        lambda index: _embedded(embedding, lambda part: data.scored[part], index),
        lambda samples: _embedded(embedding, lambda part: part, samples),
    )


def _pairs(x: Tensor) -> Tensor:
    """Binary pixels as columns of two categories: (B, *shape) -> (B, 2 d)."""
    flat = x.flatten(1)
    return torch.stack([1 - flat, flat], 2).flatten(1)


def _principal(data: Prepared, embedding: Embedding, components: int) -> Embedding:
    """Projections on principal components of what observations are mapped to.

    Raises:
        EmbeddingError: There are not so many components.
    """
    everything = _embedded(
        embedding, lambda part: observed_pixels(data, part), np.arange(len(data))
    ).double()
    most = min(len(everything) - 1, everything.shape[1])
    if components > most:
        raise EmbeddingError(
            f"there are no more than {most} components, for {len(everything):,} observations of "
            f"{everything.shape[1]:,} numbers; {components} are asked for"
        )
    centre = everything.mean(0)
    centred = everything - centre
    if centred.shape[1] > len(centred):  # the smaller of two matrices with the same eigenvalues
        rows = torch.linalg.eigh(centred @ centred.T).eigenvectors
        chosen = nn.functional.normalize(centred.T @ rows[:, -components:], dim=0).flip(1)
    else:
        chosen = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -components:].flip(1)
    return lambda x: (embedding(x).double() - centre) @ chosen


def _of_network(data: Prepared, space: VisionSpaceSpec) -> Embedding:
    features = vision_embedding(
        space.model, space.weights, space.layer, data.shape, default_device()
    )
    return features if space.components is None else _principal(data, features, space.components)


def space_determinants(space: SpaceSpec | DensitySpaceSpec) -> dict[str, str]:
    """Determinants of a space beside its spec, for fingerprints: the content of its files.

    Raises:
        EmbeddingError: A file is missing.
    """
    return {"weights": content_of(space.weights)} if isinstance(space, VisionSpaceSpec) else {}


def _encoder(model: nn.Module) -> Embedding:
    if not is_latent_variable_model(model):
        raise EmbeddingError("'encoder' needs a model that has one")
    device = default_device()
    return lambda x: model.encode(x.to(device))[0]


def _embedded(
    embedding: Embedding, values_of: Callable[[NDArray[Any]], Values], which: NDArray[Any]
) -> Tensor:
    """Embed, batch by batch, what `values_of` makes of each part of `which`."""
    starts = range(0, len(which), BATCH)
    with one_thread():
        return embed(
            embedding,
            (torch.from_numpy(np.asarray(values_of(which[s : s + BATCH]))).float() for s in starts),
        )
