"""Spaces that distances are measured in: what makes a row of numbers of each observation."""

import importlib
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from memo.errors import InputError

Embedding: TypeAlias = Callable[[Tensor], Tensor]
"""(B, *shape) -> (B, features), finite, and for each row the same whatever the others are."""


class EmbeddingError(InputError):
    """A space cannot be had for these observations; the message says why."""


def flattened(x: Tensor) -> Tensor:
    """The values themselves."""
    return x.flatten(1)


def downsampled(x: Tensor) -> Tensor:
    """Means of squares of 2 x 2 pixels: (B, C, H, W) -> (B, C H / 2 W / 2).

    Raises:
        EmbeddingError: They are not images of even height and width.
    """
    if x.ndim != 4 or x.shape[-1] % 2 or x.shape[-2] % 2:
        shape = " x ".join(map(str, x.shape[1:]))
        raise EmbeddingError(
            f"'downsampled' needs images of even height and width, not observations of {shape}"
        )
    return functional.avg_pool2d(x, 2).flatten(1)


def imported_embedding(target: str) -> Embedding:
    """The function that `package.module:function` names.

    Raises:
        EmbeddingError: It cannot be imported, or is nothing to be called.
    """
    module_name, _, name = target.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise EmbeddingError(f"{target!r}: cannot be imported: {error}") from error
    if not callable(found):
        raise EmbeddingError(f"{target!r}: is a {type(found).__name__}, not a function")
    return _named(target, found)


def embed(embedding: Embedding, batches: Iterable[Tensor]) -> Tensor:
    """All rows of an embedding, batch by batch, without gradients: (n, features), on the CPU.

    Raises:
        EmbeddingError: What the embedding returns is not of that shape, or not finite.
    """
    rows: list[Tensor] = []
    with torch.no_grad():
        for batch in batches:
            features = embedding(batch)
            _check(features, len(batch), rows)
            rows.append(features.detach().cpu())
    return torch.cat(rows)


def _named(target: str, function: Embedding) -> Embedding:
    """The function, its errors under its own name."""

    def embedding(x: Tensor) -> Tensor:
        try:
            return function(x)
        except Exception as error:
            reason = " ".join(str(error).split())
            raise EmbeddingError(f"{target!r}: {type(error).__name__}: {reason}") from error

    return embedding


def _check(features: Any, count: int, before: list[Tensor]) -> None:
    wanted = f"a tensor of ({count}, features) numbers for {count} observations"
    if not isinstance(features, Tensor):
        raise EmbeddingError(f"the space must give {wanted}, not a {type(features).__name__}")
    shape = tuple(features.shape)
    if len(shape) != 2 or shape[0] != count or not shape[1] or not features.is_floating_point():
        raise EmbeddingError(f"the space must give {wanted}, not {features.dtype} of {shape}")
    if before and before[0].shape[1] != shape[1]:
        raise EmbeddingError(
            f"the space gives {shape[1]} features here and {before[0].shape[1]} before"
        )
    if not features.isfinite().all():
        raise EmbeddingError("the space gives features that are not finite")
