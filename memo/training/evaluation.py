"""Losses of models over fixed sets of observations."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from memo.design.k_fold import IndexArray
from memo.training.batches import Observations, PlacedNumbers, padded
from memo.training.recorded_calls import Recorded
from memo.training.stack import Stack

SUMMED_ROWS = 4096
"""Losses of so many observations, over the models of a stack, are summed at a time."""

EVALUATED_FLOATS = 1 << 19
"""On a processor, observations of so many numbers are evaluated at a time, which stay in cache."""


class Evaluation:
    """Mean loss of each model over a fixed set, with noise that is the same after every epoch.

    Args:
        sets: Set of each model.
        seeds: Seed of each model's noise.
        stack: The models.
        losses: Their losses, as `Stack.losses`.
        observations: The data set.
    """

    def __init__(
        self,
        sets: Sequence[IndexArray],
        seeds: Sequence[np.random.SeedSequence],
        stack: Stack,
        losses: Recorded,
        observations: Observations,
    ) -> None:
        self._losses = losses
        self._observations = observations
        self._index, weight = padded(sets)
        self._weight = weight.to(observations.device)
        numbers = PlacedNumbers(seeds, observations.device)
        places = torch.arange(self._index.shape[1]).expand_as(self._index)
        self._noise = numbers.at(places).normal(stack.noise_features)

    def mean_loss(self) -> NDArray[np.float64]:
        """Mean losses (S,), nats; NaN for an empty set."""
        models, width = self._index.shape
        if width == 0:
            return np.full(models, np.nan)
        device = self._observations.device
        summed_rows = rows = max(1, SUMMED_ROWS // models)
        if device.type == "cpu":
            floats = models * math.prod(self._observations.shape)
            rows = max(1, min(rows, EVALUATED_FLOATS // floats))
        parts = [torch.split(t, rows, 1) for t in (self._index, self._noise, self._weight)]
        weighted = [
            self._losses(self._observations.scored(index), noise)[0] * weight
            for index, noise, weight in zip(*parts, strict=True)
        ]
        total = torch.zeros(models, device=device)
        for summed in torch.split(torch.cat(weighted, 1), summed_rows, 1):
            total += summed.sum(1)
        return total.cpu().numpy().astype(np.float64)


def random_part(members: IndexArray, size: int, seed: np.random.SeedSequence) -> IndexArray:
    """Draw so many members, or all where there are not more or the size is 0; sorted."""
    stream = np.random.Generator(np.random.PCG64(seed))
    return np.sort(stream.choice(members, min(size or len(members), len(members)), replace=False))
