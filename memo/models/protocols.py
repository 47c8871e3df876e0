"""What a density must offer to be trained, scored and sampled from.

A family is one file and one line in `memo.models.build`. It fills `Trainable` and one of
`Density` (log p(x) in closed form) and `LatentVariableModel` (log p(x) as an integral over z).
`tests/test_models_contract.py` puts every family through the same demands.
"""

from typing import Protocol, runtime_checkable

from torch import Tensor

__all__ = ["Density", "LatentVariableModel", "ObservationModel", "Trainable"]


@runtime_checkable
class Trainable(Protocol):
    """A density that is fitted by gradient descent on a loss per observation."""

    noise_features: int
    """How many standard normal draws `loss` consumes for each observation."""

    def loss(self, x: Tensor, noise: Tensor) -> Tensor:
        """An upper bound on -log p(x), in nats, for each observation.

        All randomness comes in through `noise`, so that a loss is a function and many models can
        be trained as one (`torch.func.vmap`).

        Args:
            x: Observations, (B, *shape).
            noise: Standard normal draws, (B, noise_features).

        Returns:
            (B,).
        """
        ...


@runtime_checkable
class Density(Protocol):
    """A density whose log p(x) is known exactly."""

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats: (B, *shape) -> (B,)."""
        ...


@runtime_checkable
class LatentVariableModel(Protocol):
    """A density p(x) = E_{p(z)}[p(x | z)] with a standard normal prior and an encoder q(z | x)."""

    latent: int
    """Number of latent variables, d."""

    observation: "ObservationModel"
    """p(x | z), given what `decode` returns."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of q(z | x): (B, *shape) -> (B, d), (B, d)."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """Parameters of p(x | z): (..., d) -> (..., *parameter shape)."""
        ...


@runtime_checkable
class ObservationModel(Protocol):
    """p(x | z) as a function of what the decoder returns."""

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """log p(x | z) in nats: x is (..., *shape), the result (...); leading axes broadcast."""
        ...

    def fisher_information(self, parameters: Tensor) -> Tensor:
        """Diagonal of the Fisher information of x about the parameters, of the parameters' shape.

        It is the curvature of a Gauss-Newton step on log p(x, z), and need not be exact.
        """
        ...

    def sample(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        """Draw x by inversion from uniform draws of x's shape."""
        ...
