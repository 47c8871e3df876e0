"""A weight on the divergence from the prior, and free nats."""

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from memo.mitigations.mitigation import Loss, Mitigation

if TYPE_CHECKING:
    from torch import Tensor, nn


class KLWeightSpec(Mitigation):
    """Train on reconstruction + weight * divergence from the prior (Higgins et al. 2017)."""

    kind: Literal["kl-weight"]
    weight: float = Field(default=1.0, ge=0, description="Factor on the divergence (beta).")
    free_nats: float = Field(
        default=0.0,
        ge=0,
        description="Divergence of each latent variable, in nats, below which it costs no less "
        "(Kingma et al. 2016, for each observation instead of a minibatch's mean).",
    )

    for_vae: ClassVar[bool] = True

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.weight == 1 and self.free_nats == 0:
            raise ValueError("needs a `weight` other than 1, or `free_nats`")
        return self

    def changed_loss(self, model: "nn.Module", loss: Loss) -> Loss:
        """Minimize weight * sum_j max(KL_j, free_nats) - log p(x | z), with one draw of z."""
        # Imported here: they import torch.
        from memo.models.protocols import is_latent_variable_model  # noqa: PLC0415
        from memo.models.vae import divergence_from_prior  # noqa: PLC0415

        assert is_latent_variable_model(model)

        def weighted_bound(x: "Tensor", noise: "Tensor") -> "Tensor":
            mean, log_std = model.encode(x)
            z = mean + log_std.exp() * noise
            reconstruction = model.observation.log_prob(x, model.decode(z))
            divergence = divergence_from_prior(mean, log_std).clamp_min(self.free_nats).sum(-1)
            return self.weight * divergence - reconstruction

        return Loss(weighted_bound, loss.noise_features)
