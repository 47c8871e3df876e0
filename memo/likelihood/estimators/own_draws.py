"""log p(x), or a bound on it, as the mean of a model's own random draws."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memo.likelihood.importance_weights import LogLikelihood, concatenate
from memo.likelihood.streams import Streams, blocks
from memo.models.protocols import Estimated
from memo.spec.scoring_specs import AdaptiveSpec, OwnLikelihoodSpec

ROUND = 8
"""Draws of each observation that are made at once, and of the pilot."""


@torch.no_grad()
def drawn_log_likelihood(
    model: Estimated, x: Tensor, spec: OwnLikelihoodSpec, seed: int
) -> LogLikelihood:
    """The mean of `log_prob_draw`, with the standard error of that mean.

    A pilot says how many draws bring the standard error to the tolerance. Fresh ones make the
    estimate, so that no draw has a say in whether it is averaged; they are doubled where they prove
    too few. The draws of an observation are the same for every model that is given the same seed,
    so that their common error cancels in differences between models.

    Args:
        model: The model.
        x: Observations, (n, *shape), on the model's device.
        spec: A tolerance, or a number of draws.
        seed: Draws depend on it and on an observation's position in x, and on nothing else.
    """
    width = max(x[0].numel(), model.noise_features, 1)
    return concatenate(
        [_block(model, block, spec, streams) for block, streams in blocks(x, ROUND * width, seed)]
    )


def _block(model: Estimated, x: Tensor, spec: OwnLikelihoodSpec, streams: Streams) -> LogLikelihood:
    moments = _Moments(model, x, streams, stage=1)
    if not isinstance(spec, AdaptiveSpec):
        moments.draw(np.full(len(x), spec.samples))
        return moments.estimates(spent=0)
    most = ROUND * 2 ** int(math.log2((spec.max_samples - ROUND) / ROUND))
    pilot = _Moments(model, x, streams, stage=0)
    pilot.draw(np.full(len(x), ROUND))
    moments.draw(_enough(pilot.variance / spec.tolerance**2, most))
    while (more := (moments.std_error > spec.tolerance) & (moments.count < most)).any():
        moments.draw(np.where(more, 2 * moments.count, moments.count))
    return moments.estimates(spent=ROUND)


def _enough(draws: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Numbers of draws, rounded up to `ROUND` or one of its doublings, and at most `most`."""
    doublings = np.ceil(np.log2(np.clip(draws / ROUND, 1, most / ROUND)))
    return ROUND * 2 ** doublings.astype(np.int64)


class _Moments:
    """Mean and variance of the draws of each observation so far (Chan, Golub & LeVeque 1983)."""

    def __init__(self, model: Estimated, x: Tensor, streams: Streams, stage: int) -> None:
        self._model, self._x, self._streams, self._stage = model, x, streams, stage
        self.count = np.zeros(len(x), dtype=np.int64)
        self._mean = np.zeros(len(x))
        self._squares = np.zeros(len(x))

    def draw(self, wanted: NDArray[np.int64]) -> None:
        """Draw until each observation has as many draws as are wanted."""
        while (short := np.flatnonzero(self.count < wanted)).size:
            first = self.count[short].min()
            rows = short[self.count[short] == first]
            size = min(ROUND, int((wanted[rows] - first).min()))
            self._add(rows, self._round(rows, first // ROUND)[:size])

    @property
    def variance(self) -> NDArray[np.float64]:
        return self._squares / (self.count - 1)

    @property
    def std_error(self) -> NDArray[np.float64]:
        return np.sqrt(self.variance / self.count)

    def estimates(self, spent: int) -> LogLikelihood:
        """The means, after `spent` draws of each observation that are not in them."""
        return LogLikelihood(
            self._mean,
            self.std_error,
            self.count.astype(np.float64),
            self.count + spent,
            np.zeros(len(self._mean)),
        )

    def _round(self, rows: NDArray[np.int64], number: int) -> NDArray[np.float64]:
        """The next draws of the chosen observations, (ROUND, rows)."""
        shape = (ROUND, self._model.noise_features)
        noise = self._streams.draw(torch.randn, shape, rows, (self._stage, int(number), 0))
        x = self._x[torch.from_numpy(rows).to(self._x.device)]
        draws = self._model.log_prob_draw(
            x.expand(ROUND, *x.shape).flatten(0, 1), noise.flatten(0, 1).to(x)
        )
        return draws.detach().to("cpu", torch.float64).reshape(ROUND, len(rows)).numpy()

    def _add(self, rows: NDArray[np.int64], draws: NDArray[np.float64]) -> None:
        size, before = len(draws), self.count[rows]
        mean = draws.mean(0)
        offset = mean - self._mean[rows]
        self.count[rows] = before + size
        self._mean[rows] += offset * size / self.count[rows]
        self._squares[rows] += np.square(draws - mean).sum(0) + offset**2 * (
            before * size / self.count[rows]
        )
