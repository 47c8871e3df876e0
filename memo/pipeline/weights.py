"""Weights of files, set into models once they are seen to be their own."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from memo.artifacts.files import ArtifactError
from memo.models.build import build_model
from memo.spec.model_specs import ModelSpec
from memo.training.stack import Weights

__all__ = ["load_weights", "loaded_model"]


def loaded_model(
    weights: Weights, model: ModelSpec, shape: tuple[int, ...], file: Path
) -> nn.Module:
    """The model with weights from a file, once they are seen to be its own, and finite.

    Raises:
        ArtifactError: A name, a shape or a value is wrong.
    """
    built = build_model(model, shape)
    load_weights(built, weights, file)
    return built


def load_weights(model: nn.Module, weights: Weights, file: Path) -> None:
    """Set a model's weights to those of a file, once they are seen to be its own, and finite.

    Raises:
        ArtifactError: A name, a type, a shape or a value is wrong.
    """
    own = model.state_dict()
    for name, array in weights.items():
        if name in own and str(own[name].dtype) != f"torch.{array.dtype}":
            raise ArtifactError(
                f"{file}: does not fit the model of the spec: {name!r} is {array.dtype}"
            )
        if not np.isfinite(array).all():
            raise ArtifactError(f"{file}: weights {name!r} are not finite")
    try:
        model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ArtifactError(f"{file}: does not fit the model of the spec: {reason}") from error
