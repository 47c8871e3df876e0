"""Making the density that is released of trained models, and scoring it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from memo.scores.aggregate import Aggregate, Method

FloatArray: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Densities:
    """Log-likelihoods of n observations under the models of a design, at one epoch."""

    log_likelihood: FloatArray
    """(models, n), nats."""
    std_error: FloatArray
    """Standard error of each log-likelihood, (models, n)."""
    held_out: NDArray[np.bool_]
    """True where the model was trained without the observation, (models, n)."""
    block: NDArray[np.int64] | None
    """Jackknife block of each model, (models,)."""
    method: "Method"

    def scores(self) -> "Aggregate":
        """Memorization scores of the observations."""
        # Imported here: polars comes with it, and reading a spec needs neither.
        from memo.scores.aggregate import memorization_scores  # noqa: PLC0415

        return memorization_scores(
            self.log_likelihood, self.std_error, ~self.held_out, self.block, self.method
        )


class Release:
    """A density that is released in place of the trained models; by default theirs."""

    def densities(self, given: Densities) -> Densities:
        """Log-likelihoods under the density that is made of each model's."""
        return given

    def facts(self, scores: "Aggregate", given: Densities) -> dict[str, float]:
        """Facts to store.

        Args:
            scores: Scores of the densities that are made of each model's.
            given: The densities that they are made of.
        """
        return {}

    def scores(self, scores: "Aggregate", densities: Densities) -> "Aggregate":
        """Scores of a density that is made of several of those."""
        return scores


def released_scores(
    steps: Sequence[Release], trained: Densities
) -> "tuple[Aggregate, dict[str, float]]":
    """Score the density that is released, and gather the facts about it.

    Args:
        steps: How it is made of the trained models, one after another.
        trained: Log-likelihoods under these.
    """
    made = [trained]
    for step in steps:
        made.append(step.densities(made[-1]))
    scores = made[-1].scores()
    facts: dict[str, float] = {}
    for step, given in zip(steps, made, strict=False):
        facts |= step.facts(scores, given)
    for step in steps:
        scores = step.scores(scores, made[-1])
    return scores, facts
