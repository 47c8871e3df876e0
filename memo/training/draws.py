"""Random numbers for observations, by their places in an order of all observations.

A place's numbers depend on a seed, an epoch and the place alone: not on the model that asks, nor on
what else is asked for. Models with equal seeds so have the same numbers at the same places, drawn
once for all of them.
"""

from collections.abc import Callable, Sequence
from itertools import count

import numpy as np
import torch
from torch import Tensor

from memo.design.seeds import substream, torch_seed

CHUNK = 256
"""Places whose numbers are drawn together: a constant, so that nothing else decides on them."""


class PlacedNumbers:
    """Streams of random numbers for S models.

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
            seed = self._seeds[group]
            for position in (epoch, call, chunk):
                seed = substream(seed, position)
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

        result = torch.empty(*self._places.shape, *shape, device=device)
        if not self._places.numel():
            return result
        for group, models in enumerate(numbers.groups):
            places = self._places.index_select(-2, models)
            first, last = int(places.min()) // CHUNK, int(places.max()) // CHUNK
            drawn = numbers.chunks(group, self._epoch, call, range(first, last + 1), chunk)
            rows = (places - first * CHUNK).flatten().to(device)
            found = drawn.index_select(0, rows).reshape(*places.shape, *shape)
            if len(numbers.groups) == 1:
                return found
            result.index_copy_(self._places.ndim - 2, models.to(device), found)
        return result
