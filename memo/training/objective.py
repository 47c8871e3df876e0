"""What training minimizes: a model's loss, or what mitigations make of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate

import torch
from torch import Tensor, nn

from memo.mitigations.specs import DropoutSpec
from memo.mitigations.training_plan import TrainingPlan
from memo.models.protocols import is_latent_variable_model
from memo.models.vae import divergence_from_prior

__all__ = ["Objective"]


class Objective(nn.Module):
    """A model's loss with weighted divergence, free nats and dropout.

    All randomness comes in through `noise`: first the model's own columns, then one for each unit
    that may be dropped, which stays where its normal draw is above the rate's quantile.

    Args:
        model: It fills `memo.models.Trainable`; for a weight, free nats or dropout, it is a VAE.
        plan: Which of them.
    """

    def __init__(self, model: nn.Module, plan: TrainingPlan) -> None:
        super().__init__()
        self.model = model
        self.plan = plan
        self._own = int(model.noise_features)  # type: ignore[arg-type]
        units = [] if plan.dropout is None else list(_dropped(model, plan.dropout))
        self._units = [module for module, _ in units]
        self._widths = [width for _, width in units]
        self.noise_features = self._own + sum(self._widths)
        """Standard normal draws for each observation, in the objective; the loss takes fewer."""

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """What is minimized: (B, *shape), (B, noise_features) -> (B,) nats."""
        own, masks = noise[:, : self._own], noise[:, self._own :]
        with self._dropping(masks):
            if self.plan.kl_weight == 1 and self.plan.free_nats == 0:
                return self.model.loss(x, own)  # type: ignore[no-any-return, operator]
            return self._weighted_bound(x, own)

    def _weighted_bound(self, x: Tensor, noise: Tensor) -> Tensor:
        """weight * sum_j max(KL_j, free) - log p(x | z), one draw of z."""
        model = self.model
        assert is_latent_variable_model(model)
        mean, log_std = model.encode(x)
        z = mean + torch.exp(log_std) * noise
        reconstruction = model.observation.log_prob(x, model.decode(z))
        divergence = divergence_from_prior(mean, log_std).clamp_min(self.plan.free_nats).sum(-1)
        return self.plan.kl_weight * divergence - reconstruction

    @contextmanager
    def _dropping(self, noise: Tensor) -> Iterator[None]:
        """Multiply the output of each unit's layer by its mask, while the loss is computed."""
        if self.plan.dropout is None:
            yield
            return
        rate = self.plan.dropout.rate
        threshold = float(torch.special.ndtri(torch.tensor(rate, dtype=torch.float64)))
        masks = (noise > threshold).to(noise.dtype) / (1 - rate)
        ends = list(accumulate(self._widths))
        hooks = [
            module.register_forward_hook(_multiply_by(masks[:, end - width : end]))
            for module, width, end in zip(self._units, self._widths, ends, strict=True)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _multiply_by(mask: Tensor) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
    def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return output * mask.reshape(*mask.shape, *[1] * (output.ndim - mask.ndim))

    return hook


def _dropped(model: nn.Module, spec: DropoutSpec) -> Iterator[tuple[nn.Module, int]]:
    """The activations of hidden layers, and how many units or channels each has."""
    networks = ("encoder", "decoder") if spec.networks == "both" else (spec.networks,)
    for network in networks:
        width = 0
        for module in model.get_submodule(network).modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.GroupNorm):
                width = _outputs(module)
            elif isinstance(module, nn.ReLU):
                yield module, width


def _outputs(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.GroupNorm) -> int:
    match layer:
        case nn.Linear():
            return layer.out_features
        case nn.GroupNorm():
            return layer.num_channels
        case _:
            return layer.out_channels
