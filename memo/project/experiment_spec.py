"""One experiment of params.yaml."""

from typing import Self

from pydantic import Field, model_validator

from memo.mitigations.data.remove import RemoveSpec
from memo.mitigations.kinds import MitigationSpec
from memo.spec.base import Name, Spec
from memo.spec.model_specs import ModelSpec
from memo.spec.scoring_specs import ScoringSpec
from memo.spec.training_specs import TrainingSpec


class ExperimentSpec(Spec):
    """One data set, one model, one training with its mitigations, and one scoring.

    The six sections are required, because DVC stages depend on each of them as a parameter; of a
    density that is fitted without epochs, `training: {}` and `epochs: []` will do.
    """

    title: str | None = Field(
        default=None, max_length=200, description="Name shown to people; default: the key."
    )
    dataset: Name = Field(description="Key of a data set under `datasets` or `files`.")
    model: ModelSpec = Field(description="The density that is trained.")
    training: TrainingSpec = Field(
        description="Training by gradient descent; {} for a density that is fitted without it."
    )
    mitigations: list[MitigationSpec] = Field(
        description="Changes to training, data or released density that should lower "
        "memorization, applied together."
    )
    scoring: ScoringSpec
    seed: int = Field(
        ge=0,
        lt=2**63,
        description="Seed of partitions, initial weights, batch order and noise.",
    )

    @model_validator(mode="after")
    def _with_variance_floors(self) -> Self:
        model = self.model
        for mitigation in self.mitigations:
            model = mitigation.changed_model(model)
        return self if model is self.model else self.model_copy(update={"model": model})

    @model_validator(mode="after")
    def _with_epochs(self) -> Self:
        if self.scoring.epochs:
            return self
        last = self.training.epochs if self.model.by_gradient else 1
        return self.model_copy(
            update={"scoring": self.scoring.model_copy(update={"epochs": [last]})}
        )

    @property
    def removal(self) -> RemoveSpec | None:
        """The mitigation that removes what another experiment memorized most."""
        return next((m for m in self.mitigations if isinstance(m, RemoveSpec)), None)
