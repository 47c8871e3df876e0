"""Removing the observations that another experiment memorized most."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from memo.design.k_fold import IndexArray
from memo.mitigations.mitigation import Mitigation, Problem, ScoredModels, Surroundings
from memo.spec.base import Name, Positive, Share

if TYPE_CHECKING:
    import polars as pl

    from memo.datasets.prepared import Prepared


class RemoveSpec(Mitigation):
    """Leave the observations that another experiment memorized most out of every training set.

    They stay in the data set and are scored, so that partitions are those of the other experiment.
    """

    kind: Literal["remove"]
    of: Name = Field(description="The experiment whose scores say which.")
    count: Positive | None = Field(default=None, description="How many.")
    quantile: Share | None = Field(
        default=None, description="Or: all whose score is above this quantile of the scores."
    )

    by_training_sets: ClassVar[bool] = True
    stored: ClassVar[Sequence[str]] = ("removed",)

    _removed: tuple[int, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if (self.count is None) == (self.quantile is None):
            raise ValueError("needs one of `count` and `quantile`")
        return self

    def problems(self, around: Surroundings) -> Iterator[Problem]:
        """Refuse to remove all observations."""
        n = around.dataset.observations
        if n is not None and (self.count or 0) >= n:
            yield Problem("count", f"leaves nothing to train on: there are {n} observations")

    def with_scores(self, ranked: "pl.DataFrame") -> "RemoveSpec":
        """Make a copy that knows what to remove.

        Args:
            ranked: `index` and `memorization` (shrunk where it can be) of the other experiment's
                observations at its last epoch, the most memorized first.
        """
        memorization = ranked["memorization"].to_numpy()
        chosen = (
            np.arange(len(ranked)) < (self.count or 0)
            if self.quantile is None
            else memorization > np.quantile(memorization, self.quantile)
        )
        copy = self.model_copy()
        copy._removed = tuple(np.sort(ranked["index"].to_numpy()[chosen]).tolist())
        return copy

    def training_filter(self, data: "Prepared") -> Callable[[IndexArray], IndexArray]:
        """Leave the chosen observations out."""
        removed = np.array(self._removed, np.int64)
        return lambda members: np.setdiff1d(members, removed, assume_unique=True)

    def facts(self, models: ScoredModels) -> dict[str, Any]:
        """Indices of the removed observations."""
        return {"removed": list(self._removed)}

    @classmethod
    def paragraph(
        cls, values: Mapping[str, Any], scores: "pl.DataFrame", *, density: bool
    ) -> tuple[str, str]:
        """Number of removed observations."""
        count = len(values["removed"])
        return (
            "Removed",
            f"{count:,} observations are in no training set; they are scored too.",
        )

    def determinants(self) -> dict[str, Any]:
        """Indices of what is removed, and not by whose scores."""
        return {"kind": self.kind, "removed": list(self._removed)}
