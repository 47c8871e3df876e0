"""Encoders and decoders: from an observation to features and back."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from memo.spec import NetworkSpec

__all__ = ["MLPDecoder", "MLPEncoder", "build_networks"]


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class MLPEncoder(nn.Module):
    """(B, *shape) -> (B, outputs) through fully connected layers."""

    def __init__(self, shape: tuple[int, ...], hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.layers = _perceptron([prod(shape), *hidden, outputs])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.flatten(1))  # type: ignore[no-any-return]


class MLPDecoder(nn.Module):
    """(..., latent) -> (..., *shape) through the encoder's layers in reverse order."""

    def __init__(self, latent: int, hidden: Sequence[int], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = _perceptron([latent, *reversed(hidden), prod(shape)])
        self.shape = shape

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z).unflatten(-1, self.shape)  # type: ignore[no-any-return]


def build_networks(
    spec: NetworkSpec,
    shape: tuple[int, ...],
    latent: int,
    parameter_shape: tuple[int, ...],
) -> tuple[nn.Module, nn.Module]:
    """The encoder to 2 x `latent` features and the decoder to `parameter_shape`."""
    match spec.kind:
        case "mlp":
            return (
                MLPEncoder(shape, spec.hidden, 2 * latent),
                MLPDecoder(latent, spec.hidden, parameter_shape),
            )
