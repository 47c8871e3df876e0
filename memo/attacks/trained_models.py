"""Log-likelihoods of records under many models, and which models know nothing of each other."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from memo.attacks.references import References
from memo.scores.aggregate import FloatArray


@dataclass(frozen=True, eq=False)
class TrainedModels:
    """Log-likelihoods of n records under models whose training sets are known.

    Each model is attacked in turn (Carlini et al. 2022, section IV), with those others as
    references that nothing connects with it: what a reference tells of a record must not depend
    on the membership that is to be guessed.
    """

    log_likelihood: FloatArray
    """(models, n), nats."""
    in_training: NDArray[np.bool_]
    """True where the model was trained on the record, (models, n)."""
    kin: NDArray[np.int64]
    """(models, labels): models that share a label in one of the columns depend on each other. The
    first column is the group, over which errors are taken: a repeat, or a block of models."""
    known: NDArray[np.bool_] | None = None
    """True where there is a log-likelihood, of a model that was trained on the record or had it
    held out, (models, n); everywhere when None."""

    @property
    def group(self) -> NDArray[np.int64]:
        """Group of each model, 0 ... groups - 1, (models,)."""
        return np.unique(self.kin[:, 0], return_inverse=True)[1].astype(np.int64)

    @cached_property
    def there(self) -> NDArray[np.bool_]:
        """As `known`, of all pairs, (models, n)."""
        return np.ones_like(self.in_training) if self.known is None else self.known

    def kindred(self, model: int) -> NDArray[np.bool_]:
        """True for each model that depends on this one, itself among them, (models,)."""
        return np.asarray((self.kin == self.kin[model]).any(1))

    def with_references(self) -> Iterator[tuple[NDArray[np.int64], References]]:
        """Targets, as indices of models, with the references that they have in common.

        Example:
            Three repeats of two models each: a target has the four models of two other repeats.

            >>> repeat = np.repeat([0, 1, 2], 2)[:, None]
            >>> half = np.tile(np.eye(2) > 0, (3, 1))
            >>> models = TrainedModels(np.zeros((6, 2)), half, repeat)
            >>> [(t.tolist(), r.count_in.tolist()) for t, r in models.with_references()]
            [([0, 1], [2, 2]), ([2, 3], [2, 2]), ([4, 5], [2, 2])]
        """
        kindred = np.stack([self.kindred(model) for model in range(len(self.kin))])
        kinds, kind = np.unique(kindred, axis=0, return_inverse=True)
        for number in np.unique(kind.ravel(), return_index=True)[1].argsort():
            rows = np.flatnonzero(~kinds[number])
            yield np.flatnonzero(kind.ravel() == number), self.references(rows)

    def references(self, rows: NDArray[np.int64]) -> References:
        """Some of the models as references, by their indices."""
        return References(self.log_likelihood[rows], self.in_training[rows], self.there[rows])
