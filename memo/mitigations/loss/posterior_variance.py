"""A floor under the variance of the approximate posterior."""

from typing import ClassVar, Literal

from pydantic import Field

from memo.mitigations.mitigation import Mitigation
from memo.spec.model_specs import ModelSpec, VAESpec


class PosteriorVarianceSpec(Mitigation):
    """Keep the variance of q(z | x) above a floor, so that no observation owns a point of z."""

    kind: Literal["posterior-variance"]
    floor: float = Field(gt=0, description="Variance added to that of each latent variable.")

    for_vae: ClassVar[bool] = True

    def changed_model(self, model: ModelSpec) -> ModelSpec:
        """Raise the model's floor."""
        if not isinstance(model, VAESpec):
            return model
        floor = max(self.floor, model.posterior_variance_floor or 0)
        return model.model_copy(update={"posterior_variance_floor": floor})
