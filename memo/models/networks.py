"""Encoders and decoders."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from memo.spec.model_specs import ConvSpec, MLPSpec, NetworkSpec

REDUCTION = 16
"""Factor by which four convolutions of stride 2 divide height and width."""

WIDTHS = (1, 2, 4, 8)
"""Channels after each of the four convolutions, as multiples of the first one's."""

GROUP = 16
"""Size of a group of channels that is normalized (Wu & He 2018), where it divides a layer's."""


def build_networks(
    spec: NetworkSpec,
    shape: tuple[int, ...],
    outputs: int,
    latent: int,
    parameter_shape: tuple[int, ...],
) -> tuple[nn.Module, nn.Module]:
    """Build the encoder to so many outputs, and the decoder of `latent` to `parameter_shape`.

    Raises:
        ValueError: The network is not made for observations of that shape.
    """
    match spec:
        case MLPSpec():
            return (
                MLPEncoder(shape, spec.hidden, outputs),
                MLPDecoder(latent, spec.hidden, parameter_shape),
            )
        case ConvSpec():
            return (
                ConvEncoder(shape, spec.features, outputs),
                ConvDecoder(latent, spec.features, parameter_shape),
            )


_halved = partial(nn.Conv2d, kernel_size=4, stride=2, padding=1)
_doubled = partial(nn.ConvTranspose2d, kernel_size=4, stride=2, padding=1)


class MLPEncoder(nn.Module):
    """Fully connected layers (B, *shape) -> (B, outputs)."""

    def __init__(self, shape: tuple[int, ...], hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.layers = _perceptron([prod(shape), *hidden, outputs])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.flatten(1))  # type: ignore[no-any-return]


class MLPDecoder(nn.Module):
    """Fully connected layers (..., latent) -> (..., *shape), as wide as an encoder's in reverse."""

    def __init__(self, latent: int, hidden: Sequence[int], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = _perceptron([latent, *reversed(hidden), prod(shape)])
        self.shape = shape

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z).unflatten(-1, self.shape)  # type: ignore[no-any-return]


class ConvEncoder(nn.Module):
    """DCGAN's discriminator (Radford et al. 2016) as an encoder, (B, C, H, W) -> (B, outputs).

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
        widths = [factor * features for factor in WIDTHS]
        self.layers = nn.Sequential(
            _halved(channels, widths[0]),
            nn.ReLU(),
            *(_normalized(_halved(a, b), b) for a, b in pairwise(widths)),
            nn.Flatten(),
            nn.Linear(widths[-1] * height * width, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class ConvDecoder(nn.Module):
    """DCGAN's generator (..., latent) -> (..., C, H, W), the encoder's layers in reverse order."""

    def __init__(self, latent: int, features: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, height, width = _reduced(shape)
        widths = [factor * features for factor in reversed(WIDTHS)]
        self.shape = shape
        first = nn.Sequential(
            nn.Linear(latent, widths[0] * height * width),
            nn.Unflatten(1, (widths[0], height, width)),
        )
        self.layers = nn.Sequential(
            _normalized(first, widths[0]),
            *(_normalized(_doubled(a, b), b) for a, b in pairwise(widths)),
            _doubled(widths[-1], channels),
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
    """Channels of an image, and its height and width after four halvings."""
    if len(shape) != 3 or shape[1] % REDUCTION or shape[2] % REDUCTION:
        raise ValueError(
            f"a convolutional network needs images whose height and width are multiples of "
            f"{REDUCTION}, not observations of shape {' x '.join(map(str, shape))}"
        )
    channels, height, width = shape
    return channels, height // REDUCTION, width // REDUCTION


def _normalized(layer: nn.Module, channels: int) -> nn.Module:
    groups = channels // GROUP if channels % GROUP == 0 else 1
    return nn.Sequential(layer, nn.GroupNorm(groups, channels), nn.ReLU())
