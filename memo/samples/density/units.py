"""Rows of a space in units in which one bandwidth does for all columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Rows in these units, on the CPU."""

    numbers: Tensor
    """(n, d), float64, in standard deviations of the observations from their mean."""
    categories: Tensor
    """(n, sum of the numbers of categories), float64: one 1 for each categorical column."""

    def __len__(self) -> int:
        return len(self.numbers)

    def part(self, rows: slice) -> "Rows":
        """Some of the rows."""
        return Rows(self.numbers[rows], self.categories[rows])


@dataclass(frozen=True)
class Units:
    """The units of a space, from the observations in it.

    Example:
        >>> units = Units.of(torch.tensor([[0.0, 1, 0], [4.0, 0, 1]]), categories=[2])
        >>> units.rows(torch.tensor([[4.0, 0.2, 0.8]])).numbers.item()
        1.0
        >>> round(float(np.exp(-units.log_volume)), 6)  # the density is per unit, and a unit is 2
        0.5
    """

    centre: NDArray[np.float64]
    """(d,)."""
    spread: NDArray[np.float64]
    """(d,): standard deviations, 1 where all observations are the same."""
    categories: tuple[int, ...]
    """Number of categories of each categorical column, whose entries come after the numbers."""

    @classmethod
    def of(cls, observed: Tensor, categories: Sequence[int] = ()) -> "Units":
        """Measure observations.

        Args:
            observed: (n, d + sum of categories): numbers, then one entry for each category.
            categories: Number of categories of each such column.
        """
        numbers = observed[:, : observed.shape[1] - sum(categories)].double().numpy()
        spread = numbers.std(0)
        spread[~(np.ptp(numbers, axis=0) > 0)] = 1.0
        return cls(numbers.mean(0), spread, tuple(categories))

    @property
    def dimensions(self) -> int:
        """Number of columns of numbers, d."""
        return len(self.centre)

    @property
    def log_volume(self) -> float:
        """Log of the volume of a unit cell in the space's own units."""
        return float(np.log(self.spread).sum())

    def rows(self, values: Tensor) -> Rows:
        """Convert rows of the space, (n, d + sum of categories).

        The largest entry of a categorical column decides what its category is.
        """
        columns = values.cpu().double()
        numbers = columns[:, : self.dimensions] - torch.from_numpy(self.centre)
        blocks = torch.split(columns[:, self.dimensions :], list(self.categories), 1)
        found = [
            torch.nn.functional.one_hot(block.argmax(1), size).double()
            for block, size in zip(blocks, self.categories, strict=True)
        ]
        none = columns.new_zeros(len(columns), 0)
        return Rows(numbers / torch.from_numpy(self.spread), torch.cat([none, *found], 1))
