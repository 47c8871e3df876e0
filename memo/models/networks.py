"""Encoders and decoders, and a GAN's critic and generator."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from math import prod, sqrt

from torch import Tensor, nn

from memo.spec.model_specs import ConvSpec, MLPSpec, NetworkSpec

REDUCTION = 16
"""Factor by which four convolutions of stride 2 divide height and width."""

WIDTHS = (1, 2, 4, 8)
"""Channels after each of the four convolutions, as multiples of the first one's."""

GROUP = 16
"""Size of a group of channels that is normalized (Wu & He 2018), where it divides a layer's."""

SLOPE = 0.2
"""Slope of players' leaky rectifiers below zero (Radford et al. 2016)."""


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


def build_players(
    spec: NetworkSpec, shape: tuple[int, ...], latent: int
) -> tuple[nn.Module, nn.Module]:
    """Build a GAN's critic, to one number, and its generator.

    Convolutions are not normalized, as in Mescheder et al. (2018): over groups of one observation's
    channels, generators that were tried came to ignore their latent variables. In place of it,
    weights start so that the size of what they are given is kept (He et al. 2015), and biases at 0.

    Raises:
        ValueError: The network is not made for observations of that shape.
    """
    match spec:
        case MLPSpec():
            critic: nn.Module = MLPEncoder(shape, spec.hidden, 1)
            generator: nn.Module = MLPDecoder(latent, spec.hidden, shape)
        case ConvSpec():
            critic = ConvEncoder(shape, spec.features, 1, normalized=False)
            generator = ConvDecoder(latent, spec.features, shape, normalized=False)
    for player in (critic, generator):
        player.apply(_keep_size)
    return critic, generator


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
        normalized: True for normalization and rectifiers; False for leaky rectifiers alone.
    """

    def __init__(
        self, shape: tuple[int, ...], features: int, outputs: int, normalized: bool = True
    ) -> None:
        super().__init__()
        channels, height, width = _reduced(shape)
        widths = [factor * features for factor in WIDTHS]
        self.layers = nn.Sequential(
            _halved(channels, widths[0]),
            nn.ReLU() if normalized else nn.LeakyReLU(SLOPE),
            *(_block(_halved(a, b), b, normalized) for a, b in pairwise(widths)),
            nn.Flatten(),
            nn.Linear(widths[-1] * height * width, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class ConvDecoder(nn.Module):
    """DCGAN's generator (..., latent) -> (..., C, H, W), the encoder's layers in reverse order."""

    def __init__(
        self, latent: int, features: int, shape: tuple[int, ...], normalized: bool = True
    ) -> None:
        super().__init__()
        channels, height, width = _reduced(shape)
        widths = [factor * features for factor in reversed(WIDTHS)]
        self.shape = shape
        first = nn.Sequential(
            nn.Linear(latent, widths[0] * height * width),
            nn.Unflatten(1, (widths[0], height, width)),
        )
        self.layers = nn.Sequential(
            _block(first, widths[0], normalized),
            *(_block(_doubled(a, b), b, normalized) for a, b in pairwise(widths)),
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


def _block(layer: nn.Module, channels: int, normalized: bool) -> nn.Module:
    if not normalized:
        return nn.Sequential(layer, nn.LeakyReLU(SLOPE))
    groups = channels // GROUP if channels % GROUP == 0 else 1
    return nn.Sequential(layer, nn.GroupNorm(groups, channels), nn.ReLU())


def _keep_size(layer: nn.Module) -> None:
    """Draw a layer's weights from N(0, 2 / inputs), inputs counted of one output; biases are 0."""
    if isinstance(layer, nn.ConvTranspose2d):  # of a kernel, one entry in stride^2 meets an output
        inputs = layer.in_channels * prod(layer.kernel_size) / prod(layer.stride)
    elif isinstance(layer, nn.Conv2d):
        inputs = layer.in_channels * prod(layer.kernel_size)
    elif isinstance(layer, nn.Linear):
        inputs = layer.in_features
    else:
        return
    nn.init.normal_(layer.weight, std=sqrt(2 / inputs))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
