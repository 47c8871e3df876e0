"""Random changes to what a model is trained on, drawn from each model's own stream."""

from collections.abc import Sequence

import torch
from torch import Tensor

from memo.mitigations.specs import AugmentationSpec
from memo.training.batches import drawn_apart

__all__ = ["augmented"]


def augmented(
    spec: AugmentationSpec, x: Tensor, streams: Sequence[torch.Generator], *, binary: bool
) -> Tensor:
    """Flips, then shifts, then noise.

    Args:
        spec: Which of them.
        x: Of T steps, (T, S, B, *shape); flips and shifts are for images, (C, H, W).
        streams: One for each of the S models.
        binary: Whether noise inverts pixels, instead of being added.
    """
    if spec.flips:
        coins = _uniform(x, (1, 1, 1), streams)
        x = x.flip(-1).where(coins < 0.5, x)
    if spec.shifts:
        x = _shifted(x, spec.shifts, streams)
    if spec.noise and binary:
        x = (1 - x).where(_uniform(x, x.shape[3:], streams) < spec.noise, x)
    elif spec.noise:
        x = x + spec.noise * drawn_apart(torch.randn, (x.shape[0], *x.shape[2:]), 1, streams)
    return x


def _shifted(x: Tensor, most: int, streams: Sequence[torch.Generator]) -> Tensor:
    """Each image moved by its own whole number of rows and columns; the border is repeated."""
    steps = torch.floor(_uniform(x, (2,), streams) * (2 * most + 1)).long() - most
    for axis in (-2, -1):
        size = x.shape[axis]
        sources = torch.arange(size, device=x.device) - steps[..., axis, None]
        index = sources.clamp(0, size - 1)
        index = index[..., None, :, None] if axis == -2 else index[..., None, None, :]
        x = x.gather(axis, index.expand_as(x))
    return x


def _uniform(x: Tensor, shape: Sequence[int], streams: Sequence[torch.Generator]) -> Tensor:
    """Draws (T, S, B, *shape), each model's from its own stream."""
    return drawn_apart(torch.rand, (x.shape[0], x.shape[2], *shape), 1, streams)
