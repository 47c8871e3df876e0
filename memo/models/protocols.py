"""Protocols: the methods by which densities and samplers are trained, scored and sampled from.

A family is one file and one line in `memo.models.build`. It comes by its weights as a `Trainable`
(gradient descent) or a `Fitted` (an algorithm of its own), and has log p(x) as a `Density` (in
closed form), a `LatentVariableModel` (as an integral over z) or an `Estimated` (as a mean of random
draws). All families here are `Generative`; a model of the user's own need not be. One that is
`Generative` and nothing else, a sampler, is scored by what its samples tell of log p(x).
`tests/test_models_contract.py` puts every family through the same demands, and
`memo.training.contract` a model of the user's own.

Example:
    A density of the user's own: exponential, its rate fitted by maximum likelihood.

    >>> class Exponential:
    ...     def fit(self, x):
    ...         self.rate = 1 / x.mean()
    ...     def log_prob(self, x):
    ...         return (self.rate.log() - self.rate * x).sum(1)
    >>> model = Exponential()
    >>> isinstance(model, Fitted), isinstance(model, Trainable), isinstance(model, Generative)
    (True, False, False)
    >>> model.fit(torch.tensor([[1.0], [3.0]]))
    >>> float(model.log_prob(torch.zeros(1, 1)).exp())
    0.5
"""

import inspect
from typing import Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor

from memo.errors import WorkError


class FitError(WorkError):
    """A density has no fit to these observations; the message says why and what would help."""


@runtime_checkable
class Trainable(Protocol):
    """A density that is fitted by gradient descent on a loss per observation."""

    noise_features: int
    """Number of standard normal draws that `loss` consumes for each observation."""

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
class Initialized(Trainable, Protocol):
    """A density that takes some of its weights from its training set before it is trained.

    So does activation normalization, for example. `loss` and `log_prob` must not do that: they are
    functions, called with observations of which some may be held out.
    """

    def initialize(self, x: Tensor) -> None:
        """Set parameters and persistent buffers, whose shapes stay.

        Args:
            x: The training set of this very model, (n, *shape), as it is scored.
        """
        ...


@runtime_checkable
class Averaged(Trainable, Protocol):
    """A model of which samples are drawn from a running mean of its weights over steps."""

    def running_means(self) -> tuple[float, dict[str, str]]:
        """Part d that a mean keeps in each step, and parameters by the buffer of their mean.

        After a step, the mean is d times what it was plus (1 - d) times the parameter.
        """
        ...


@runtime_checkable
class Paced(Trainable, Protocol):
    """A model with a momentum of its own, as players need who move at once."""

    def gradient_momentum(self) -> float:
        """Part of the mean of gradients that Adam keeps in each step: its beta_1."""
        ...


@runtime_checkable
class Density(Protocol):
    """A density whose log p(x) is known exactly."""

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats: (B, *shape) -> (B,)."""
        ...


@runtime_checkable
class Estimated(Protocol):
    """A density whose log p(x), or a lower bound on it, is the mean of random draws."""

    noise_features: int
    """Number of standard normal draws that `log_prob_draw` consumes for each observation."""

    def log_prob_draw(self, x: Tensor, noise: Tensor) -> Tensor:
        """One draw for each observation, in nats, whose expectation is log p(x) or the bound.

        Called with autograd off; `torch.func.grad` and the like work.

        Args:
            x: Observations, (B, *shape).
            noise: Standard normal draws, (B, noise_features); as in `Trainable.loss`, all
                randomness comes in through them.

        Returns:
            (B,).
        """
        ...


@runtime_checkable
class Fitted(Protocol):
    """A model that is fitted to all its observations at once, by an algorithm of its own.

    All that is fitted lies in buffers, so that `state_dict` holds it; a buffer whose size depends
    on the observations takes the size of the one that is loaded. Call it by `fit_to`: `fit` may
    take a generator too.
    """

    def fit(self, x: Tensor) -> None:
        """Fit to observations (n, *shape); a function of them and of the initial weights alone.

        As `fit(x, generator)`, a function of what a generator on the CPU gives too.

        Raises:
            FitError: There is no fit: too few observations, or a singular covariance.
        """
        ...


def fit_to(model: Fitted, x: Tensor, seed: int) -> None:
    """Have a model fit itself to observations, with a generator where its `fit` takes one.

    Args:
        model: The model.
        x: Observations, (n, *shape).
        seed: Seed of the generator.

    Raises:
        FitError: There is no fit.

    Example:
        >>> class Shuffled:
        ...     def fit(self, x, generator):
        ...         self.order = torch.randperm(len(x), generator=generator)
        >>> model = Shuffled()
        >>> fit_to(model, torch.zeros(3, 1), seed=0)
        >>> sorted(model.order.tolist())
        [0, 1, 2]
    """
    if takes_generator(model):
        model.fit(x, torch.Generator().manual_seed(seed))  # type: ignore[call-arg]
    else:
        model.fit(x)


def takes_generator(model: Fitted) -> bool:
    """True where `fit` has a second argument."""
    try:
        inspect.signature(model.fit).bind("x", "generator")
    except (TypeError, ValueError):  # another signature; or a callable that is not in Python
        return False
    return True


class FittedDensity(Fitted, Density, Protocol):
    """A density that is fitted by an algorithm of its own."""


@runtime_checkable
class ClosedForm(FittedDensity, Protocol):
    """A density with leave-one-out likelihoods in closed form, so that scores need no refits."""

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
    """A model that new observations can be drawn from."""

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
    """True where the model has the attributes of a `LatentVariableModel`.

    `isinstance` would not do: from Python 3.12 on it does not see submodules such as `observation`.
    """
    return all(hasattr(model, name) for name in ("latent", "observation", "encode", "decode"))


def has_log_p(model: object) -> bool:
    """True where a model says something of log p(x) itself.

    Example:
        >>> has_log_p(torch.nn.Identity())
        False
    """
    return isinstance(model, Density | Estimated) or is_latent_variable_model(model)


@runtime_checkable
class ObservationModel(Protocol):
    """p(x | z), given the parameters that the decoder returns."""

    shape: tuple[int, ...]
    """Shape of one observation."""

    parameter_shape: tuple[int, ...]
    """Shape of the decoder's output for one observation."""

    def encoder_input(self, x: Tensor) -> Tensor:
        """The observation in the units that the encoder sees."""
        ...

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """log p(x | z) in nats: x is (..., *shape), the result (...); leading axes broadcast."""
        ...

    def fisher_information(self, parameters: Tensor) -> Tensor:
        """Diagonal of the Fisher information of x about the parameters, of the parameters' shape.

        Serves as the curvature of a Gauss-Newton step on log p(x, z), and need not be exact.
        """
        ...

    def sample(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        """Draw x by inversion from uniform draws of x's shape."""
        ...
