"""Training on one of each group of duplicates."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from memo.design.duplicates import Duplicates
from memo.design.k_fold import IndexArray
from memo.mitigations.mitigation import Mitigation, Problem, ScoredModels, Surroundings

if TYPE_CHECKING:
    import polars as pl

    from memo.datasets.prepared import Prepared


class DeduplicateSpec(Mitigation):
    """Train on one of each group of duplicates: the one of the lowest index.

    Observations are compared as they were given, before noise. It acts on each model's own
    training set, so that a held-out twin does not hide its like.
    """

    kind: Literal["deduplicate"]
    distance: float = Field(
        default=0.0,
        ge=0,
        description="Euclidean distance up to which two observations are duplicates; 0: exact "
        "ones only. It is taken of the values before noise: of images, pixels from 0 (black) to 1 "
        "(white), or integers with `values: levels`; of tables, numbers as standardized, and "
        "sqrt(2) for two different categories.",
    )

    by_training_sets: ClassVar[bool] = True
    stored: ClassVar[Sequence[str]] = ("exact_duplicates", "left_out_as_duplicates")

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
        return Duplicates(data.given_values, self.distance).without

    def facts(self, models: ScoredModels) -> dict[str, Any]:
        """Count copies of earlier observations, and those that training on all leaves out."""
        everything = np.arange(len(models.data))
        duplicates = Duplicates(models.data.given_values, self.distance)
        return {
            "exact_duplicates": int((duplicates.first != everything).sum()),
            "left_out_as_duplicates": len(everything) - len(duplicates.without(everything)),
        }

    @classmethod
    def paragraph(
        cls, values: Mapping[str, Any], scores: "pl.DataFrame", *, density: bool
    ) -> tuple[str, str]:
        """Numbers of duplicates, and of what they leave to train on."""
        exact, left_out = values["exact_duplicates"], values["left_out_as_duplicates"]
        n = len(scores)
        if not left_out:
            return (
                "Duplicates",
                f"None of {n:,} observations duplicates another: models are what they are without "
                "`deduplicate`.",
            )
        return (
            "Duplicates",
            f"Of {n:,} observations {exact:,} are exact copies of earlier ones. The full model is "
            f"trained on {n - left_out:,}, without {left_out:,} duplicates; each other model on "
            "one of each group in its training set. All observations are scored.",
        )

    def determinants(self) -> dict[str, Any]:
        """The options, and a mark that observations are compared as they were given."""
        return {**self.model_dump(exclude_none=True), "compared": "given values"}
