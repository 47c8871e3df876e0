"""Stopping when a validation loss no longer falls, for each model of a stack by itself."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from memo.design.k_fold import IndexArray
from memo.mitigations.mitigation import Mitigation
from memo.spec.base import Positive, Share


class EarlyStoppingSpec(Mitigation):
    """Stop when the loss on a validation split no longer falls, and restore the best weights.

    The split is taken from each model's own training set, never from what it has held out. At a
    scored epoch stand the best weights up to it.
    """

    kind: Literal["early-stopping"]
    patience: Positive = Field(default=10, description="Epochs without a new lowest loss.")
    fraction: Share = Field(
        default=0.1, description="Share of the training set that is validated on, not trained on."
    )

    by_gradient: ClassVar[bool] = True
    fixed_stream: ClassVar[int | None] = 5

    def stopping(
        self, members: Sequence[IndexArray], seeds: Sequence[np.random.SeedSequence]
    ) -> "EarlyStopping":
        """Split each training set at random; both parts have an observation where it has two.

        With equal seeds, observations are drawn in the same order for both parts of each set.
        """
        validated = [self._split(own, seed) for own, seed in zip(members, seeds, strict=True)]
        return EarlyStopping(
            self.patience,
            [
                np.setdiff1d(m, v, assume_unique=True)
                for m, v in zip(members, validated, strict=True)
            ],
            validated,
        )

    def _split(self, members: IndexArray, seed: np.random.SeedSequence) -> IndexArray:
        stream = np.random.Generator(np.random.PCG64(seed))
        count = min(max(1, round(self.fraction * len(members))), len(members) - 1)
        drawn = stream.random(members.max() + 1)[members]
        return np.sort(members[np.argsort(drawn)[:count]])


class EarlyStopping:
    """The best weights of each model so far.

    A model stops after `patience` epochs without a new lowest loss. Later epochs, which other
    models of its stack may still need, do not count for it: its weights and losses stay those of
    its best epoch. So the weights at a scored epoch are those that training for so many epochs
    would have restored.

    Args:
        patience: Epochs without a new lowest loss.
        members: Observations that each model is trained on.
        validated: Observations that its validation loss is read from.
    """

    def __init__(
        self, patience: int, members: Sequence[IndexArray], validated: Sequence[IndexArray]
    ) -> None:
        models = len(members)
        self.members = members
        self.validated = validated
        self.stopped = np.zeros(models, np.bool_)
        self.best_epoch = np.zeros(models, np.int64)
        self.best: list[Any] = [{} for _ in range(models)]
        self._patience = patience
        self._lowest = np.full(models, np.inf)

    def update(
        self, epoch: int, losses: NDArray[np.float64], weights: Callable[[], list[Any]]
    ) -> None:
        """Add validation losses (S,) after an epoch; weights are read where one is the lowest."""
        better = ~self.stopped & (losses < self._lowest)
        if better.any():
            current = weights()
            for model in np.flatnonzero(better):
                self.best[model] = current[model]
        self._lowest = np.where(better, losses, self._lowest)
        self.best_epoch = np.where(better, epoch, self.best_epoch)
        self.stopped |= epoch - self.best_epoch >= self._patience
