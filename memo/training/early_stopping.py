"""Stopping when a validation loss no longer falls, for each model of a stack by itself."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from memo.design.k_fold import IndexArray
from memo.training.stack import Weights

__all__ = ["EarlyStopping", "validation_splits"]


class EarlyStopping:
    """The best weights of each model so far, and whether it has stopped.

    A model stops after `patience` epochs without a new lowest loss. Later epochs, which other
    models of its stack may still need, do not count for it: its weights and losses stay those of
    its best epoch. So what stands at a scored epoch is what training for so many epochs would
    have restored.

    Args:
        patience: Epochs without a new lowest loss.
        models: How many models the stack has.
    """

    def __init__(self, patience: int, models: int) -> None:
        self._patience = patience
        self._lowest = np.full(models, np.inf)
        self.best_epoch = np.zeros(models, np.int64)
        self.stopped = np.zeros(models, np.bool_)
        self.best: list[Weights] = [{} for _ in range(models)]

    def update(
        self, epoch: int, losses: NDArray[np.float64], weights: Callable[[], list[Weights]]
    ) -> None:
        """Take in the validation losses (S,) after an epoch; weights are read if any is best."""
        better = ~self.stopped & (losses < self._lowest)
        if better.any():
            current = weights()
            for model in np.flatnonzero(better):
                self.best[model] = current[model]
        self._lowest = np.where(better, losses, self._lowest)
        self.best_epoch = np.where(better, epoch, self.best_epoch)
        self.stopped |= epoch - self.best_epoch >= self._patience


def validation_splits(
    members: Sequence[IndexArray], fraction: float, seeds: Sequence[np.random.SeedSequence]
) -> tuple[list[IndexArray], list[IndexArray]]:
    """A random share of each training set to validate on, and the rest to train on.

    Both have at least one observation, where the training set has two.
    """
    chosen = [_choice(m, fraction, seed) for m, seed in zip(members, seeds, strict=True)]
    rest = [np.setdiff1d(m, c, assume_unique=True) for m, c in zip(members, chosen, strict=True)]
    return chosen, rest


def _choice(members: IndexArray, fraction: float, seed: np.random.SeedSequence) -> IndexArray:
    stream = np.random.Generator(np.random.PCG64(seed))
    count = min(max(1, round(fraction * len(members))), len(members) - 1)
    return np.sort(stream.choice(members, count, replace=False))
