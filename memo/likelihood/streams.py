"""Random draws for each observation, whatever others are looked at with it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["ROWS", "Streams"]

ROWS = 128
"""Observations whose draws come from one stream."""


@dataclass(frozen=True)
class Streams:
    """The draws of a block's observations; on the CPU, whatever device the model is on."""

    seed: int

    first: int
    """Number of the block's first stream; each is that of `ROWS` observations."""

    def draw(
        self,
        distribution: Callable[..., Tensor],
        shape: tuple[int, ...],
        positions: NDArray[np.int64],
        purpose: tuple[int, int, int],
    ) -> Tensor:
        """`torch.rand` or `torch.randn`: (S, ...) for each position in the block, (S, n, ...)."""
        size, *rest = shape
        parts = []
        for group in np.unique(positions // ROWS):
            source = self._source(int(group), purpose)
            draws = distribution(size, ROWS, *rest, generator=source)
            parts.append(draws[:, positions[positions // ROWS == group] % ROWS])
        return torch.cat(parts, 1)

    def shared(
        self,
        distribution: Callable[..., Tensor],
        shape: tuple[int, ...],
        purpose: tuple[int, int, int],
    ) -> Tensor:
        """Draws of a `shape` that all observations of the block have in common."""
        return distribution(*shape, generator=self._source(0, purpose))

    def _source(self, group: int, purpose: tuple[int, int, int]) -> torch.Generator:
        sequence = np.random.SeedSequence(self.seed, spawn_key=(self.first + group, *purpose))
        (state,) = sequence.generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state))
