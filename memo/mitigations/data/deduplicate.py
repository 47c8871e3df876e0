"""Training on one of each group of duplicates."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from memo.design.duplicates import duplicate_pairs, without_duplicates
from memo.design.k_fold import IndexArray
from memo.mitigations.mitigation import Mitigation, Problem, Surroundings

if TYPE_CHECKING:
    from memo.datasets.prepared import Prepared


class DeduplicateSpec(Mitigation):
    """Train on one of each group of duplicates: the one of the lowest index.

    It acts on each model's own training set, so that a held-out twin does not hide its like.
    """

    kind: Literal["deduplicate"]
    distance: float = Field(
        default=0.0,
        ge=0,
        description="Euclidean distance of the values up to which two observations are duplicates; "
        "0: exact ones only. Of binary pixels, its square is how many differ.",
    )

    by_training_sets: ClassVar[bool] = True

    def problems(self, around: Surroundings) -> Iterator[Problem]:
        """Refuse near-duplicates beside differential privacy."""
        if self.distance > 0 and "dp-sgd" in around.kinds:
            yield Problem(
                "distance",
                "does not go with 'dp-sgd' above 0: one observation may decide on many others, "
                "which is not counted in epsilon",
            )

    def training_filter(self, data: "Prepared") -> Callable[[IndexArray], IndexArray]:
        """Leave out what duplicates an observation of lower index that stays."""
        return partial(without_duplicates, pairs=duplicate_pairs(data.scored, self.distance))
