"""Dropout of hidden units."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from memo.mitigations.mitigation import Loss, Mitigation
from memo.spec.base import Share

if TYPE_CHECKING:
    from torch import Tensor, nn


class DropoutSpec(Mitigation):
    """Set hidden units to zero at random while training (Srivastava et al. 2014).

    Units of a perceptron, whole channels of a convolution; those that stay are scaled up.
    """

    kind: Literal["dropout"]
    rate: Share = Field(description="Probability with which each unit is dropped.")
    networks: Literal["encoder", "decoder", "both"] = Field(
        default="both", description="Whose hidden units."
    )

    for_vae: ClassVar[bool] = True

    def changed_loss(self, model: "nn.Module", loss: Loss) -> Loss:
        """Multiply hidden units by masks while the loss is computed.

        The loss takes one more normal draw for each unit, behind its own: the unit stays where
        that draw is above the rate's quantile.
        """
        import torch  # noqa: PLC0415 -- a second, which reading a spec may not take

        units = list(self._units(model))
        ends = list(accumulate((width for _, width in units), initial=loss.noise_features))
        threshold = float(torch.special.ndtri(torch.tensor(self.rate, dtype=torch.float64)))

        def dropped(x: "Tensor", noise: "Tensor") -> "Tensor":
            masks = (noise > threshold).to(noise.dtype) / (1 - self.rate)
            with ExitStack() as hooks:
                for (module, _), start, end in zip(units, ends, ends[1:], strict=False):
                    hook = module.register_forward_hook(_multiply_by(masks[:, start:end]))
                    hooks.callback(hook.remove)
                return loss.function(x, noise[:, : loss.noise_features])

        return Loss(dropped, ends[-1])

    def _units(self, model: "nn.Module") -> "Iterator[tuple[nn.Module, int]]":
        """Find activations of hidden layers, and how many units or channels each has."""
        from torch import nn  # noqa: PLC0415 -- see above

        for network in ("encoder", "decoder") if self.networks == "both" else (self.networks,):
            width = 0
            for module in model.get_submodule(network).modules():
                match module:
                    case nn.Linear():
                        width = module.out_features
                    case nn.Conv2d() | nn.ConvTranspose2d():
                        width = module.out_channels
                    case nn.GroupNorm():
                        width = module.num_channels
                    case nn.ReLU():
                        yield module, width


def _multiply_by(mask: "Tensor") -> "Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]":
    def hook(module: "nn.Module", inputs: "tuple[Tensor]", output: "Tensor") -> "Tensor":
        return output * mask.reshape(*mask.shape, *[1] * (output.ndim - mask.ndim))

    return hook
