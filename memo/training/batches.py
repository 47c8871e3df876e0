"""Minibatches of many models at once."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memo.datasets.prepared import Prepared
from memo.datasets.rows import Rows
from memo.design.k_fold import IndexArray
from memo.design.seeds import torch_seed

HELD_BYTES = 1 << 30
"""A data set up to this size is held on the device; of a larger one, batches are fetched."""

SPAN_FLOATS = 1 << 20
"""Observations of as many steps as have so many numbers are read, and noise drawn, at once."""


class Observations:
    """Values of a data set on a device, as training and scoring see them."""

    def __init__(self, data: Prepared, device: torch.device) -> None:
        self._scored = _read(data.scored, device)
        self._intensities = None if data.intensities is None else _read(data.intensities, device)
        self._flips = data.flips
        self.device = device
        self.shape = data.shape

    def scored(self, index: Tensor) -> Tensor:
        """Values that are scored, by an index (...) on the CPU: (..., *shape), float32."""
        return self._scored(index).to(torch.float32)

    def drawn(self, index: Tensor, draws: "Draws") -> Tensor:
        """Values to train on, drawn anew where the data set says so.

        Args:
            index: (..., S, B), on the CPU.
            draws: Random numbers for these observations.

        Returns:
            (..., S, B, *shape).
        """
        values = (self._intensities or self._scored)(index)
        pixels = draws.uniform(*self.shape) if self._intensities else None
        coins = draws.uniform() if self._flips else None
        return training_batch(values, pixels=pixels, coins=coins)


@dataclass(frozen=True)
class Draws:
    """Random numbers for observations of S models, each model's from its own stream."""

    streams: Sequence[torch.Generator]
    """One for each model."""
    observations: torch.Size
    """(..., S, B); leading axes are steps."""

    def uniform(self, *shape: int) -> Tensor:
        """Uniform draws from [0, 1) for each observation, (..., S, B, *shape)."""
        return self._stacked(torch.rand, shape)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal draws for each observation, (..., S, B, *shape)."""
        return self._stacked(torch.randn, shape)

    def _stacked(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        *steps, _, width = self.observations
        size = (*steps, width, *shape)
        each = [draw(size, generator=stream, device=stream.device) for stream in self.streams]
        return torch.stack(each, len(steps))


def _read(rows: Rows, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Make the function from an index on the CPU to rows on the device.

    Rows are held there, or fetched where they are too many.
    """
    if math.prod(rows.shape) * rows.dtype.itemsize <= HELD_BYTES:
        held = torch.from_numpy(np.array(rows[:])).to(device)
        return lambda index: held.index_select(0, _sent(index.flatten(), device)).reshape(
            *index.shape, *rows.shape[1:]
        )
    return lambda index: _sent(torch.from_numpy(rows[index.numpy()]), device)


def _sent(values: Tensor, device: torch.device) -> Tensor:
    """Copy values to the device; neither side waits for the other where that is a GPU."""
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


class Minibatches:
    """Minibatches of each model's own training set in its own order.

    An epoch has as many steps as the largest training set needs. Each model's observations are
    split over these in batches whose sizes differ by at most one, padded to one width.

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
        """Indices (T, S, B), on the CPU, and weights (T, S, B) of some T steps after some others.

        T is a function of the batch size alone, since a model's draws for T steps are made at once.
        A model's weights in one step sum to one.

        Args:
            device: Device for the weights.
            floats: Numbers in one observation.
        """
        width = -(-max(map(len, self._sets)) // self.steps)
        indices = np.zeros((self.steps, len(self._sets), width), np.int64)
        weights = np.zeros(indices.shape, np.float32)
        for model, (stream, members) in enumerate(zip(self._streams, self._sets, strict=True)):
            _split(stream.permutation(members), indices[:, model], weights[:, model])
        span = max(1, SPAN_FLOATS // (width * floats))
        tensors = (torch.from_numpy(indices), _sent(torch.from_numpy(weights), device))
        return zip(*(torch.split(tensor, span) for tensor in tensors), strict=True)


def _split(order: IndexArray, index: IndexArray, weight: NDArray[np.float32]) -> None:
    """Cut an order of observations into batches whose sizes differ by at most one, larger first.

    Args:
        order: (n,).
        index: Zeros (T, B), for T batches.
        weight: Zeros (T, B): 1 / size where there is an observation.
    """
    size, larger = divmod(len(order), len(index))
    parts = np.split(order, [larger * (size + 1)])
    for rows, batches, count in (
        (slice(0, larger), parts[0], size + 1),
        (slice(larger, None), parts[1], size),
    ):
        if len(batches):
            index[rows, :count] = batches.reshape(-1, count)
            weight[rows, :count] = 1 / count


class PoissonBatches:
    """Batches that have each observation of one model's training set with the same probability.

    An epoch has as many steps as make every observation be drawn once on average.

    Args:
        training_set: Indices of the observations.
        seed: Seed of the samples.
        batch_size: Observations in a batch, on average.
    """

    def __init__(
        self, training_set: IndexArray, seed: np.random.SeedSequence, batch_size: int
    ) -> None:
        self._set = training_set
        self._stream = np.random.Generator(np.random.PCG64(seed))
        self.steps = -(-len(training_set) // batch_size)

    def epoch(self, device: torch.device, floats: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Indices (1, 1, B) of one step after another, on the CPU, and weights, which are 1."""
        for _ in range(self.steps):
            chosen = self._set[self._stream.random(len(self._set)) < 1 / self.steps]
            index = torch.from_numpy(chosen)[None, None]
            yield index, torch.ones(index.shape, device=device)


def padded(sets: Sequence[IndexArray]) -> tuple[Tensor, Tensor]:
    """Pad index sets to one array (S, B), with weights that average over each: 1 / size or 0."""
    width = max(map(len, sets))
    index = np.zeros((len(sets), width), np.int64)
    weight = np.zeros((len(sets), width), np.float32)
    for row, members in enumerate(sets):
        index[row, : len(members)] = members
        weight[row, : len(members)] = 1 / max(len(members), 1)
    return torch.from_numpy(index), torch.from_numpy(weight)


def generators(
    seeds: Sequence[np.random.SeedSequence], device: torch.device
) -> list[torch.Generator]:
    """Make a torch generator of each seed."""
    return [torch.Generator(device).manual_seed(torch_seed(seed)) for seed in seeds]


def training_batch(
    values: Tensor, *, pixels: Tensor | None = None, coins: Tensor | None = None
) -> Tensor:
    """Draw binary pixels anew, and mirror images left and right.

    Leading axes are free: one model's batch (B, *shape), or those of a stack (S, B, *shape).

    Args:
        values: Rows of `Prepared.scored`; with `pixels`, of `Prepared.intensities`.
        pixels: Uniform draws of values' shape, where a data set has `Prepared.intensities`.
        coins: Uniform draws (B,) or (S, B), where `Prepared.flips`: images (..., C, H, W) are
            mirrored where they lie below 1/2.

    Returns:
        Values to train on, a float tensor of the same shape.
    """
    batch = values.float() if pixels is None else (pixels < values).float()
    if coins is None:
        return batch
    return batch.flip(-1).where((coins < 0.5)[..., None, None, None], batch)
