"""Nearest-neighbour density estimates from samples."""

import math
from itertools import count

import numpy as np
import torch
from scipy.special import digamma, polygamma

from memo.likelihood.importance_weights import LogLikelihood
from memo.samples.density.kernel import NARROWEST, QUERIES, squares
from memo.samples.density.units import Rows


def neighbours_for(tolerance: float) -> int:
    """The fewest neighbours whose ball has a share of the samples that is known so well.

    The log of the probability in the ball to the k-th nearest sample has the variance psi'(k), up
    to 1 / m (Kozachenko & Leonenko 1987).

    >>> neighbours_for(0.4)
    7
    """
    return next(k for k in count(2) if polygamma(1, k) <= tolerance**2)


class Balls:
    """Balls around some rows that hold the k nearest of the samples so far.

    log p is psi(k) - psi(m + 1) - log V_d - d log r, r the distance to the k-th nearest of m
    samples: without bias where the density in the ball is constant (Kozachenko & Leonenko 1987).

    Args:
        x: The rows, n of them; numbers alone.
        neighbours: k.

    Example:
        >>> x = Rows(torch.zeros(1, 1).double(), torch.zeros(1, 0))
        >>> balls = Balls(x, neighbours=2)
        >>> places = torch.linspace(-1, 1, 101, dtype=torch.float64)[:, None]
        >>> balls.add(Rows(places, torch.zeros(101, 0)))
        >>> round(balls.radius.item(), 6)  # 0 is nearer
        0.02
    """

    def __init__(self, x: Rows, neighbours: int) -> None:
        self._x, self._k = x, neighbours
        self.count = 0
        self._squares = torch.full((len(x), neighbours), math.inf, dtype=torch.float64)

    @property
    def radius(self) -> torch.Tensor:
        """Distances to the k-th nearest sample so far, (n,), none below `NARROWEST`."""
        return self._squares[:, -1].sqrt().clamp(min=NARROWEST)

    def add(self, samples: Rows) -> None:
        """Look among more samples."""
        self.count += len(samples)
        for start in range(0, len(self._x), QUERIES):
            at = slice(start, start + QUERIES)
            near = torch.cat([self._squares[at], squares(self._x.part(at), samples)], 1)
            self._squares[at] = near.topk(self._k, largest=False).values

    def estimates(self) -> LogLikelihood:
        """Logs of densities, with the standard errors that the k-th nearest has."""
        d, k = self._x.numbers.shape[1], self._k
        log_ball = d / 2 * math.log(math.pi) - math.lgamma(d / 2 + 1)
        share = float(digamma(k) - digamma(self.count + 1))
        value = share - log_ball - d * self.radius.log().numpy()
        error = math.sqrt(max(0.0, float(polygamma(1, k) - polygamma(1, self.count + 1))))
        n = len(value)
        return LogLikelihood(
            value, np.full(n, error), np.full(n, float(k)), np.full(n, self.count), np.zeros(n)
        )
