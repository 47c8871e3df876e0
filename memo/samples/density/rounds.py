"""Drawing samples until log p is known well enough, or there are as many as may be."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from memo.likelihood.importance_weights import LogLikelihood
from memo.samples.density.units import Rows

PIECE = 4096
"""Samples in memory at a time."""

ROUNDS = 8
"""The first round has the largest number of samples divided by this."""

SHARE = 0.9
"""Share of the estimates that decide when to stop."""


class Accumulated(Protocol):
    """An estimate of densities from samples that come piece by piece."""

    count: int
    """Samples so far."""

    def add(self, samples: Rows) -> None:
        """Take more samples in."""

    def estimates(self) -> LogLikelihood:
        """Estimates from the samples so far."""


def from_samples(
    draw: Callable[[int], Rows], density: Accumulated, first: int, most: int, tolerance: float
) -> LogLikelihood:
    """Draw in rounds, each as large as all before it together.

    Args:
        draw: Gives so many further samples.
        density: What takes them in.
        first: Samples of the first round.
        most: Samples of all rounds together, at most.
        tolerance: Standard error, in nats, that `SHARE` of the estimates should have.
    """
    wanted = min(first, most)
    while True:
        while density.count < wanted:
            density.add(draw(min(PIECE, wanted - density.count)))
        found = density.estimates()
        if wanted == most or np.quantile(found.std_error, SHARE) <= tolerance:
            return found
        wanted = min(most, 2 * wanted)
