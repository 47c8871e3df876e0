"""What a density must offer to be trained, scored and sampled from.

A family is one file and one line in `memo.models.build`. It comes by its weights as a `Trainable`
(gradient descent) or a `Fitted` (an algorithm of its own), and has log p(x) as a `Density` (in
closed form), a `LatentVariableModel` (as an integral over z) or an `Estimated` (as a mean of random
draws). All families here are `Generative`; a model of the user's own need not be.
`tests/test_models_contract.py` puts every family through the same demands, and
`memo.training.contract` a model of the user's own.
"""

from typing import Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor

from memo.errors import WorkError

__all__ = [
    "ClosedForm",
    "Density",
    "Estimated",
    "FitError",
    "Fitted",
    "Generative",
    "LatentVariableModel",
    "ObservationModel",
    "Trainable",
    "is_latent_variable_model",
]


class FitError(WorkError):
    """A density has no fit to these observations; the message says why and what would help."""


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
class Estimated(Protocol):
    """A density of which log p(x), or a lower bound on it, is the mean of random draws."""

    noise_features: int
    """How many standard normal draws `log_prob_draw` consumes for each observation."""

    def log_prob_draw(self, x: Tensor, noise: Tensor) -> Tensor:
        """One draw for each observation, in nats, whose expectation is log p(x) or the bound.

        It is computed without autograd; `torch.func.grad` and the like work.

        Args:
            x: Observations, (B, *shape).
            noise: Standard normal draws, (B, noise_features); as in `Trainable.loss`, all
                randomness comes in through them.

        Returns:
            (B,).
        """
        ...


@runtime_checkable
class Fitted(Density, Protocol):
    """A density that is fitted to all its observations at once, by an algorithm of its own.

    What it learns lies in float64 buffers, so that `state_dict` holds all of it; a buffer whose
    size depends on the observations takes the size of the one that is loaded.
    """

    def fit(self, x: Tensor) -> None:
        """Fit to observations (n, *shape); the same ones give the same fit.

        Raises:
            FitError: There is no fit: too few observations, or a singular one.
        """
        ...


@runtime_checkable
class ClosedForm(Fitted, Protocol):
    """A density whose leave-one-out scores need no refits."""

    def leave_one_out_log_prob(self, x: Tensor) -> Tensor:
        """log p(x_i | D without i) of every observation that the density was fitted to.

        Args:
            x: The observations D that `fit` saw, (n, *shape).

        Returns:
            (n,), float64, in nats.

        Raises:
            FitError: There is no fit without one of them.
        """
        ...


@runtime_checkable
class Generative(Protocol):
    """A density that new observations can be drawn from."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw (count, *shape) in the space of the model's values; `generator` is on the CPU."""
        ...


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


def is_latent_variable_model(model: object) -> TypeGuard[LatentVariableModel]:
    """Whether it has what a `LatentVariableModel` has.

    From Python 3.12 on `isinstance` would look for `observation` where a module keeps no modules.
    """
    return all(hasattr(model, name) for name in ("latent", "observation", "encode", "decode"))


@runtime_checkable
class ObservationModel(Protocol):
    """p(x | z) as a function of what the decoder returns."""

    shape: tuple[int, ...]
    """Shape of one observation."""

    parameter_shape: tuple[int, ...]
    """Shape of what the decoder returns for one observation."""

    def encoder_input(self, x: Tensor) -> Tensor:
        """The observation in the units that the encoder sees."""
        ...

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
