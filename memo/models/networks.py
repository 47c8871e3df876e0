"""Encoders and decoders: from an observation to features and back."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from memo.spec.model_specs import ConvSpec, MLPSpec, NetworkSpec

__all__ = ["ConvDecoder", "ConvEncoder", "MLPDecoder", "MLPEncoder", "build_networks"]

REDUCTION = 16
"""Four convolutions of stride 2 divide height and width by this."""

GROUP = 16
"""Channels that are normalized together (Wu & He 2018), where they divide a layer's channels."""


def build_networks(
    spec: NetworkSpec,
    shape: tuple[int, ...],
    latent: int,
    parameter_shape: tuple[int, ...],
) -> tuple[nn.Module, nn.Module]:
    """The encoder to 2 x `latent` features and the decoder to `parameter_shape`.

    Raises:
        ValueError: The network is not made for observations of that shape.
    """
    match spec:
        case MLPSpec():
            return (
                MLPEncoder(shape, spec.hidden, 2 * latent),
                MLPDecoder(latent, spec.hidden, parameter_shape),
            )
        case ConvSpec():
            return (
                ConvEncoder(shape, spec.features, 2 * latent),
                ConvDecoder(latent, spec.features, parameter_shape),
            )


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


class ConvEncoder(nn.Module):
    """(B, C, H, W) -> (B, outputs): DCGAN's discriminator (Radford et al. 2016), reaching z.

    Normalization is over groups of channels of one observation, never over a batch: an
    observation is scored as it was trained on, whatever stands beside it.

    Args:
        shape: (C, H, W), H and W multiples of 16.
        features: Channels after the first convolution; each further one doubles them.
        outputs: Number of features that are returned.
    """

    def __init__(self, shape: tuple[int, ...], features: int, outputs: int) -> None:
        super().__init__()
        channels, height, width = _reduced(shape)
        widths = _widths(features)
        self.layers = nn.Sequential(
            _half(channels, widths[0]),
            nn.ReLU(),
            *(_normalized(_half(a, b), b) for a, b in pairwise(widths)),
            nn.Flatten(),
            nn.Linear(widths[-1] * height * width, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class ConvDecoder(nn.Module):
    """(..., latent) -> (..., C, H, W): DCGAN's generator, the encoder's layers in reverse order."""

    def __init__(self, latent: int, features: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, height, width = _reduced(shape)
        widths = _widths(features)[::-1]
        self.shape = shape
        self.layers = nn.Sequential(
            _normalized(_spread(latent, widths[0], height, width), widths[0]),
            *(_normalized(_double(a, b), b) for a, b in pairwise(widths)),
            _double(widths[-1], channels),
        )

    def forward(self, z: Tensor) -> Tensor:
        images = self.layers(z.reshape(-1, z.shape[-1]))
        return images.reshape(*z.shape[:-1], *self.shape)  # type: ignore[no-any-return]


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _reduced(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, and the height and width that are left after four halvings."""
    if len(shape) != 3 or shape[1] % REDUCTION or shape[2] % REDUCTION:
        raise ValueError(
            f"a convolutional network needs images whose height and width are multiples of "
            f"{REDUCTION}, not observations of shape {' x '.join(map(str, shape))}"
        )
    channels, height, width = shape
    return channels, height // REDUCTION, width // REDUCTION


def _widths(features: int) -> list[int]:
    return [features, 2 * features, 4 * features, 8 * features]


def _half(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1)


def _double(inputs: int, outputs: int) -> nn.Module:
    return nn.ConvTranspose2d(inputs, outputs, kernel_size=4, stride=2, padding=1)


def _spread(latent: int, channels: int, height: int, width: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(latent, channels * height * width),
        nn.Unflatten(1, (channels, height, width)),
    )


def _normalized(layer: nn.Module, channels: int) -> nn.Module:
    groups = channels // GROUP if channels % GROUP == 0 else 1
    return nn.Sequential(layer, nn.GroupNorm(groups, channels), nn.ReLU())
