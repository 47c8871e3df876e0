"""Minibatches of many models at once."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from memo.datasets import Prepared, Rows
from memo.design import IndexArray, torch_seed
from memo.training.drawing import training_batch

__all__ = ["Minibatches", "Observations", "padded"]

HELD_BYTES = 1 << 30
"""A data set up to this size is held on the device; of a larger one, batches are fetched."""

SPAN_FLOATS = 1 << 20
"""Observations of as many steps as have so many numbers are read, and noise drawn, at once."""


class Observations:
    """The values of a data set on a device, as training and scoring see them."""

    def __init__(self, data: Prepared, device: torch.device) -> None:
        self._scored = _read(data.scored, device)
        self._intensities = None if data.intensities is None else _read(data.intensities, device)
        self._flips = data.flips
        self.device = device
        self.shape = data.shape

    def scored(self, index: Tensor) -> Tensor:
        """The values that are scored: (...) -> (..., *shape), float32."""
        return self._scored(index).to(torch.float32)

    def drawn(self, index: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Values to train on, drawn anew where the data set says so.

        Args:
            index: (..., S, B).
            generators: One for each of the S models.

        Returns:
            (..., S, B, *shape).
        """
        values = (self._intensities or self._scored)(index)
        pixels = self._uniform(index, self.shape, generators) if self._intensities else None
        coins = self._uniform(index, (), generators) if self._flips else None
        return training_batch(values, pixels=pixels, coins=coins)

    def _uniform(
        self, index: Tensor, shape: tuple[int, ...], generators: Sequence[torch.Generator]
    ) -> Tensor:
        *steps, _, width = index.shape
        return drawn_apart(torch.rand, (*steps, width, *shape), len(steps), generators)


def _read(rows: Rows, device: torch.device) -> Callable[[Tensor], Tensor]:
    """From an index to its rows on the device: held there, or fetched where they are too many."""
    if math.prod(rows.shape) * rows.dtype.itemsize <= HELD_BYTES:
        held = torch.from_numpy(np.array(rows[:])).to(device)
        return lambda index: held[index]
    return lambda index: torch.from_numpy(rows[index.cpu().numpy()]).to(device)


class Minibatches:
    """Each model's own training set in its own order, cut alike for all.

    An epoch has as many steps as the largest training set needs; each model's observations are
    dealt to them in batches whose sizes differ by at most one, and padded to one width.

    Args:
        training_sets: Indices of each model's observations.
        seeds: Seed of each model's batch order.
        batch_size: The most observations in a batch.
    """

    def __init__(
        self,
        training_sets: Sequence[IndexArray],
        seeds: Sequence[np.random.SeedSequence],
        batch_size: int,
    ) -> None:
        self._sets = training_sets
        self._streams = [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]
        self.steps = -(-max(map(len, training_sets)) // batch_size)

    def epoch(self, device: torch.device, floats: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Indices (T, S, B) and weights (T, S, B) of some T steps after some others.

        T is a function of the batch size alone, since a model's draws for T steps are made at once.

        Args:
            device: Where the tensors lie.
            floats: Numbers in one observation.

        Yields:
            Both tensors; a model's weights in one step sum to one.
        """
        dealt = [
            np.array_split(stream.permutation(members), self.steps)
            for stream, members in zip(self._streams, self._sets, strict=True)
        ]
        steps = [padded(batches) for batches in zip(*dealt, strict=True)]
        width = max(index.shape[1] for index, _ in steps)
        indices, weights = (
            torch.stack(
                [
                    torch.nn.functional.pad(pair[part], (0, width - pair[part].shape[1]))
                    for pair in steps
                ]
            ).to(device, non_blocking=True)
            for part in (0, 1)
        )
        span = max(1, SPAN_FLOATS // (width * floats))
        return zip(torch.split(indices, span), torch.split(weights, span), strict=True)


def padded(sets: Sequence[IndexArray]) -> tuple[Tensor, Tensor]:
    """Index sets as one (S, B) array, and weights that average over each set: 1 / size or 0."""
    width = max(map(len, sets))
    index = np.zeros((len(sets), width), np.int64)
    weight = np.zeros((len(sets), width), np.float32)
    for row, members in enumerate(sets):
        index[row, : len(members)] = members
        weight[row, : len(members)] = 1 / max(len(members), 1)
    return torch.from_numpy(index), torch.from_numpy(weight)


def drawn_apart(
    draw: Callable[..., Tensor],
    shape: tuple[int, ...],
    axis: int,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """`torch.rand` or `torch.randn` draws of that shape from each generator, along a new axis."""
    return torch.stack(
        [draw(shape, generator=source, device=source.device) for source in generators], axis
    )


def generators(
    seeds: Sequence[np.random.SeedSequence], device: torch.device
) -> list[torch.Generator]:
    """One torch stream for each seed."""
    return [torch.Generator(device).manual_seed(torch_seed(seed)) for seed in seeds]
