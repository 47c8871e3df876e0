"""Weights as arrays, set into models once they are seen to be their own."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from memo.errors import WorkError
from memo.models.build import build_model
from memo.spec.model_specs import ModelSpec


class StateError(WorkError):
    """Weights are not those of a model, or not finite; the message says which."""


def loaded_model(
    weights: dict[str, NDArray[Any]], spec: ModelSpec, shape: tuple[int, ...]
) -> nn.Module:
    """Build the model of a spec with these weights, ready to be evaluated.

    Args:
        weights: Parameters and buffers by name.
        spec: The model's spec.
        shape: Shape of one observation.

    Raises:
        StateError: A name, a type, a shape or a value is wrong.
    """
    model = build_model(spec, shape)
    load_state(model, weights)
    return model.eval()


def load_state(model: nn.Module, weights: dict[str, NDArray[Any]]) -> None:
    """Set a model's parameters and buffers.

    Raises:
        StateError: A name, a type, a shape or a value is wrong.
    """
    own = model.state_dict()
    for name, array in weights.items():
        if name in own and str(own[name].dtype) != f"torch.{array.dtype}":
            raise StateError(f"does not fit the model of the spec: {name!r} is {array.dtype}")
        if not np.isfinite(array).all() and not _is_as_built(own.get(name), array):
            raise StateError(f"weights {name!r} are not finite")
    try:
        model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise StateError(f"does not fit the model of the spec: {reason}") from error


def _is_as_built(built: torch.Tensor | None, array: NDArray[Any]) -> bool:
    """True of constants such as a mask of minus infinity, never of NaN."""
    return built is not None and np.array_equal(built.numpy(force=True), array)
