"""Random draws for each observation that do not depend on what is worked on beside it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROWS = 128
"""Observations whose draws come from one stream."""

BLOCK_FLOATS = 1 << 20
LARGEST_BLOCK = 2048
"""Observations of about so many numbers are a block, at least `ROWS` of them and at most this.

Small blocks cost overhead rather than arithmetic, above all where few observations are left.
"""


@dataclass(frozen=True)
class Streams:
    """The draws of a block's observations; on the CPU, whatever device the model is on."""

    seed: int

    first: int
    """Number of the block's first stream."""

    def draw(
        self,
        distribution: Callable[..., Tensor],
        shape: tuple[int, ...],
        positions: NDArray[np.int64],
        purpose: tuple[int, int, int],
    ) -> Tensor:
        """Draws by `torch.rand` or `torch.randn` for n positions in the block, (S, n, ...).

        Args:
            distribution: `torch.rand` or `torch.randn`.
            shape: Shape of the draws for one position, (S, ...).
            positions: Positions of the observations in the block, (n,).
            purpose: Number of the stage, of the use in it, and of the step in that.
        """
        size, *rest = shape
        parts = []
        for group in np.unique(positions // ROWS):
            draws = distribution(size, ROWS, *rest, generator=self._source(int(group), purpose))
            parts.append(draws[:, positions[positions // ROWS == group] % ROWS])
        return torch.cat(parts, 1)

    def shared(
        self,
        distribution: Callable[..., Tensor],
        shape: tuple[int, ...],
        purpose: tuple[int, int, int],
    ) -> Tensor:
        """Draw a tensor of `shape` that all observations of the block have in common."""
        return distribution(*shape, generator=self._source(0, purpose))

    def _source(self, group: int, purpose: tuple[int, int, int]) -> torch.Generator:
        sequence = np.random.SeedSequence(self.seed, spawn_key=(self.first + group, *purpose))
        (state,) = sequence.generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state))


def blocks(x: Tensor, width: int, seed: int) -> Iterator[tuple[Tensor, Streams]]:
    """Consecutive observations that are worked on together, with their streams.

    Args:
        x: All observations, (n, *shape).
        width: Numbers that are held for an observation.
        seed: The seed of all streams.
    """
    streams = max(1, min(LARGEST_BLOCK, BLOCK_FLOATS // width) // ROWS)
    for number, block in enumerate(torch.split(x, streams * ROWS)):
        yield block, Streams(seed, streams * number)
