"""Random changes to what a model is trained on, drawn from each model's own stream."""

from collections.abc import Sequence

import torch
from torch import Tensor

from memo.spec import AugmentationSpec

__all__ = ["augmented"]


def augmented(
    spec: AugmentationSpec, x: Tensor, streams: Sequence[torch.Generator], *, binary: bool
) -> Tensor:
    """Flips, then shifts, then noise.

    Args:
        spec: Which of them.
        x: (S, B, *shape); flips and shifts are for images (S, B, C, H, W).
        streams: One for each of the S models.
        binary: Whether noise inverts pixels, instead of being added.
    """
    if spec.flips:
        coins = _uniform(x, (1, 1, 1), streams)
        x = x.flip(-1).where(coins < 0.5, x)
    if spec.shifts:
        x = _shifted(x, spec.shifts, streams)
    if spec.noise and binary:
        x = (1 - x).where(_uniform(x, x.shape[2:], streams) < spec.noise, x)
    elif spec.noise:
        x = x + spec.noise * _normal(x, streams)
    return x


def _shifted(x: Tensor, most: int, streams: Sequence[torch.Generator]) -> Tensor:
    """Each image moved by its own whole number of rows and columns; the border is repeated."""
    steps = torch.floor(_uniform(x, (2,), streams) * (2 * most + 1)).long() - most
    for axis in (-2, -1):
        size = x.shape[axis]
        sources = torch.arange(size, device=x.device) - steps[..., axis, None]
        index = sources.clamp(0, size - 1)
        index = index[:, :, None, :, None] if axis == -2 else index[:, :, None, None, :]
        x = x.gather(axis, index.expand_as(x))
    return x


def _uniform(x: Tensor, shape: Sequence[int], streams: Sequence[torch.Generator]) -> Tensor:
    """Draws (S, B, *shape), each model's from its own stream."""
    size = (x.shape[1], *shape)
    return torch.stack([torch.rand(size, generator=s, device=x.device) for s in streams])


def _normal(x: Tensor, streams: Sequence[torch.Generator]) -> Tensor:
    return torch.stack([torch.randn(x.shape[1:], generator=s, device=x.device) for s in streams])
