"""Minibatches of many models at once, and random numbers for their observations."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memo.datasets.prepared import Prepared
from memo.datasets.rows import Logits, Rows
from memo.design.k_fold import IndexArray
from memo.design.seeds import substream, torch_seed

HELD_BYTES = 1 << 30
"""A data set up to this size is held on the device; of a larger one, batches are fetched."""

SPAN_FLOATS = 1 << 20
"""Observations of as many steps as have so many numbers are read, and given noise, at once."""

CHUNK = 256
"""Places whose numbers are drawn together: a constant, so that nothing else decides on them."""


class Observations:
    """Values of a data set on a device, as training and scoring see them."""

    def __init__(self, data: Prepared, device: torch.device) -> None:
        self._scored = _read(data.scored, device)
        self._before_noise = _read(data.before_noise, device) if data.drawn_anew else None
        self._logits = data.scored if isinstance(data.scored, Logits) else None
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
        values = (self._before_noise or self._scored)(index)
        noise = draws.uniform(*self.shape) if self._before_noise else None
        coins = draws.uniform() if self._flips else None
        return training_batch(values, noise=noise, logits=self._logits, coins=coins)


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


class Batches(NamedTuple):
    """Batches of S models in T steps after one another."""

    observations: Tensor
    """(T, S, B) observations, on the CPU."""
    places: Tensor
    """(T, S, B) places of these in the epoch's order, on the CPU."""
    weight: Tensor
    """(T, S, B) weights of their losses."""


class Minibatches:
    """Minibatches of each model's own training set, in an order of all observations.

    Each epoch has a permutation of all observations, from which a model leaves out what it is not
    trained on; the order of its training set is then uniformly random, as if that alone had been
    permuted. Models with equal seeds have the same permutation.

    An epoch has as many steps as the largest training set needs. Each model's observations are
    split over these in batches whose sizes differ by at most one, padded to one width.

    Args:
        training_sets: Indices of each model's observations.
        seeds: Seed of each model's batch order.
        batch_size: The most observations in a batch.
        observations: Number of all observations.
    """

    def __init__(
        self,
        training_sets: Sequence[IndexArray],
        seeds: Sequence[np.random.SeedSequence],
        batch_size: int,
        observations: int,
    ) -> None:
        self._trained_on = np.zeros((len(training_sets), observations), np.bool_)
        for row, members in zip(self._trained_on, training_sets, strict=True):
            row[members] = True
        self._streams = [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]
        sizes = [len(members) for members in training_sets]
        self.steps = -(-max(sizes) // batch_size)
        self._width = -(-max(sizes) // self.steps)
        cuts = [_cut(size, self.steps, self._width) for size in sizes]
        self._rows, self._weight = (np.stack(arrays, 1) for arrays in zip(*cuts, strict=True))

    def epoch(self, device: torch.device, floats: int) -> Iterator[Batches]:
        """Batches of some steps after those of some others; weights in a step sum to one.

        Args:
            device: Device for the weights.
            floats: Numbers in one observation.
        """
        index, places = np.empty_like(self._rows), np.empty_like(self._rows)
        for model, (stream, chosen) in enumerate(zip(self._streams, self._trained_on, strict=True)):
            order = stream.permutation(len(chosen))
            places[:, model] = np.flatnonzero(chosen[order])[self._rows[:, model]]
            index[:, model] = order[places[:, model]]
        weight = _sent(torch.from_numpy(self._weight), device)
        tensors = (torch.from_numpy(index), torch.from_numpy(places), weight)
        span = max(1, SPAN_FLOATS // (self._width * floats))
        return map(Batches, *(torch.split(tensor, span) for tensor in tensors))


def _cut(size: int, steps: int, width: int) -> tuple[IndexArray, NDArray[np.float32]]:
    """Cut 0 ... size-1 into batches whose sizes differ by at most one, larger first.

    Returns:
        (steps, width) numbers, a batch's first one where there are no more, and weights: 1 / size
        of the batch, and 0 where there are no more.
    """
    parts = np.array_split(np.arange(size), steps)
    rows = np.zeros((steps, width), np.int64)
    weight = np.zeros((steps, width), np.float32)
    for step, part in enumerate(parts):
        if len(part):
            rows[step] = part[0]
            rows[step, : len(part)] = part
            weight[step, : len(part)] = 1 / len(part)
    return rows, weight


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

    def epoch(self, device: torch.device, floats: int) -> Iterator[Batches]:
        """Batches (1, 1, B) of one step after another, with weights of 1."""
        start = 0
        for _ in range(self.steps):
            chosen = self._set[self._stream.random(len(self._set)) < 1 / self.steps]
            index = torch.from_numpy(chosen)[None, None]
            places = torch.arange(start, start + len(chosen))[None, None]
            start += len(chosen)
            yield Batches(index, places, torch.ones(index.shape, device=device))


class PlacedNumbers:
    """Random numbers of S models for observations, by their places in an order of all of them.

    A place's numbers depend on a seed, an epoch and the place alone: not on the model that asks,
    nor on what else is asked for. Models with equal seeds have the same numbers at the same
    places, drawn once for all of them.

    Args:
        seeds: Seed of each model's numbers.
        device: Device of the numbers.
    """

    def __init__(self, seeds: Sequence[np.random.SeedSequence], device: torch.device) -> None:
        groups: dict[bytes, list[int]] = {}
        for model, seed in enumerate(seeds):
            groups.setdefault(seed.generate_state(4).tobytes(), []).append(model)
        self.groups = [torch.tensor(models) for models in groups.values()]
        """Models with equal seeds."""
        self.device = device
        self._seeds = [seeds[models[0]] for models in groups.values()]
        self._held: dict[tuple[int, int], tuple[int, dict[int, Tensor]]] = {}

    def at(self, places: Tensor, epoch: int = 0) -> "Draws":
        """Make the source of numbers for the observations at some places.

        Args:
            places: (..., S, B) from 0, on the CPU; leading axes are steps.
            epoch: The epoch.
        """
        return Draws(self, places, epoch)

    def chunks(
        self, group: int, epoch: int, call: int, span: range, draw: Callable[[int], Tensor]
    ) -> Tensor:
        """Numbers of consecutive chunks of places, (chunks * CHUNK, ...).

        They are kept until others are asked for, since the next places may lie in the same chunks.

        Args:
            group: Position in `groups`.
            epoch: The epoch.
            call: Position among the draws for the same observations.
            span: The chunks.
            draw: Draws those of one chunk from torch's seed.
        """
        when, before = self._held.get((group, call), (epoch, {}))
        held = {}
        for chunk in span:
            if when == epoch and chunk in before:
                held[chunk] = before[chunk]
                continue
            seed = substream(self._seeds[group], epoch, call, chunk)
            held[chunk] = draw(torch_seed(seed))
        self._held[group, call] = (epoch, held)
        return torch.cat(list(held.values()))


class Draws:
    """Random numbers for the observations at some places; each call gives others.

    Args:
        numbers: Their streams.
        places: (..., S, B) from 0, on the CPU.
        epoch: The epoch.
    """

    def __init__(self, numbers: PlacedNumbers, places: Tensor, epoch: int) -> None:
        self._numbers = numbers
        self._places = places
        self._epoch = epoch
        self._calls = count()

    def uniform(self, *shape: int) -> Tensor:
        """Uniform draws from [0, 1) for each observation, (..., S, B, *shape)."""
        return self._drawn(torch.rand, shape)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal draws for each observation, (..., S, B, *shape)."""
        return self._drawn(torch.randn, shape)

    def _drawn(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        numbers, call = self._numbers, next(self._calls)
        device = numbers.device

        def chunk(seed: int) -> Tensor:
            stream = torch.Generator(device).manual_seed(seed)
            return draw((CHUNK, *shape), generator=stream, device=device)

        if not self._places.numel():
            return torch.empty(*self._places.shape, *shape, device=device)
        found = []
        for group, models in enumerate(numbers.groups):
            places = self._places.index_select(-2, models)
            first, last = int(places.min()) // CHUNK, int(places.max()) // CHUNK
            drawn = numbers.chunks(group, self._epoch, call, range(first, last + 1), chunk)
            rows = (places - first * CHUNK).flatten().to(device)
            found.append(drawn.index_select(0, rows).reshape(*places.shape, *shape))
        axis = self._places.ndim - 2
        order = torch.cat(numbers.groups).argsort().to(device)
        return torch.cat(found, axis).index_select(axis, order) if len(found) > 1 else found[0]


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
    values: Tensor,
    *,
    noise: Tensor | None = None,
    logits: Logits | None = None,
    coins: Tensor | None = None,
) -> Tensor:
    """Draw values anew, and mirror images left and right.

    Leading axes are free: one model's batch (B, *shape), or those of a stack (S, B, *shape).

    Args:
        values: Rows of `Prepared.scored`; with `noise`, of `Prepared.before_noise`.
        noise: Uniform draws of values' shape, where `Prepared.drawn_anew`.
        logits: `Prepared.scored`, where that is continuous and drawn anew.
        coins: Uniform draws (B,) or (S, B), where `Prepared.flips`: images (..., C, H, W) are
            mirrored where they lie below 1/2.

    Returns:
        Values to train on, a float tensor of the same shape.
    """
    batch = values.float()
    if noise is not None and logits is not None:
        below, above = logits.shares(batch + noise)
        batch = (below / above).log()
    elif noise is not None:
        batch = (noise < batch).float()
    if coins is None:
        return batch
    return batch.flip(-1).where((coins < 0.5)[..., None, None, None], batch)
