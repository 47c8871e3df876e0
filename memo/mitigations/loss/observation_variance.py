"""A floor under the variance of Gaussian pixels or columns."""

from collections.abc import Iterator
from typing import Literal, TypeAlias

from pydantic import Field

from memo.mitigations.mitigation import Mitigation, Problem, Surroundings
from memo.spec.model_specs import (
    ColumnsSpec,
    DiagonalGaussianSpec,
    GaussianSpec,
    ModelSpec,
    VAESpec,
)

WithVariance: TypeAlias = GaussianSpec | DiagonalGaussianSpec | ColumnsSpec


class ObservationVarianceSpec(Mitigation):
    """Keep the variance of Gaussian pixels or columns above a floor, so that none grows spikes."""

    kind: Literal["observation-variance"]
    floor: float = Field(
        gt=0,
        description="Variance, in squared units of the values, whose root is the standard "
        "deviation that no pixel or column falls below.",
    )

    def problems(self, around: Surroundings) -> Iterator[Problem]:
        """Refuse densities without such a variance."""
        model = around.model
        density = model.observation if isinstance(model, VAESpec) else model
        if not isinstance(density, WithVariance):
            yield Problem(
                "kind",
                f"{self.kind!r} is for Gaussian pixels or columns, but {density.kind!r} has no "
                "such variance",
            )

    def changed_model(self, model: ModelSpec) -> ModelSpec:
        """Raise the observation model's floor."""
        if not isinstance(model, VAESpec) or not isinstance(model.observation, WithVariance):
            return model
        floor = max(self.floor**0.5, model.observation.floor or 0)
        observation = model.observation.model_copy(update={"floor": floor})
        return model.model_copy(update={"observation": observation})
