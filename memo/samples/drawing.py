"""Drawing from models."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from memo.errors import WorkError
from memo.models.protocols import Generative

BATCH = 512
"""Samples drawn at a time."""


def draw_samples(
    model: Generative,
    count: int,
    seed: int,
    advance: Callable[[int], object] = lambda done: None,
) -> NDArray[Any]:
    """Draw from a model, in the space of its values, with autograd off.

    Args:
        model: On any device; in the mode that it is evaluated in.
        count: How many.
        seed: Seed of the draws, which are made on the CPU.
        advance: Told how many more are drawn.

    Returns:
        (count, *shape).

    Raises:
        WorkError: Some are not finite.
    """
    return draw_further(model, count, torch.Generator().manual_seed(seed), advance)


@torch.no_grad()
def draw_further(
    model: Generative,
    count: int,
    generator: torch.Generator,
    advance: Callable[[int], object] = lambda done: None,
) -> NDArray[Any]:
    """Draw from a model what a generator, which is on the CPU, gives next; as `draw_samples`."""
    batches = []
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        batches.append(model.sample(size, generator).detach().cpu())
        advance(size)
    samples: NDArray[Any] = torch.cat(batches).numpy()
    wrong = int((~np.isfinite(samples.reshape(count, -1)).all(1)).sum())
    if wrong:
        raise WorkError(f"{wrong} of {count} samples are not finite")
    return samples
