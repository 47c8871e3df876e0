"""Densities of the user's own code."""

import inspect
from typing import Any

from torch import Tensor, nn

from memo.spec.model_specs import CustomSpec
from memo.spec.user_code import Code, CodeError, errors_of


class ByLikelihood:
    """Mixin that makes a density with a `log_prob` `Trainable` by maximum likelihood.

    Example:
        >>> import torch
        >>> class Logistic(ByLikelihood, nn.Module):
        ...     def log_prob(self, x):
        ...         return (nn.functional.logsigmoid(x) + nn.functional.logsigmoid(-x)).sum(1)
        >>> loss = Logistic().loss(torch.zeros(1, 3), noise=torch.empty(1, 0))
        >>> round(float(loss.exp()), 4)  # 4 for each of three entries
        64.0
    """

    noise_features = 0

    def loss(self, x: Tensor, noise: Tensor) -> Tensor:
        """-log p(x): (B,). The noise has no columns."""
        return -self.log_prob(x)  # type: ignore[attr-defined, no-any-return]


def build_custom(spec: CustomSpec, shape: tuple[int, ...]) -> nn.Module:
    """Build `Class(shape, **arguments)`, with `ByLikelihood` where it has neither loss nor fit.

    Raises:
        CodeError: The class is not there, does not take these arguments, raises an error, or is not
            a `torch.nn.Module`.
    """
    source = spec.source
    if source is None:
        raise TypeError(f"the code of {spec.target!r} is not loaded")
    make = source.load()
    _require_arguments(source, make, shape, spec.arguments)
    given = [f"{shape}", *(f"{key}={value!r:.40}" for key, value in spec.arguments.items())]
    with errors_of(source, f"{source.name.rpartition(':')[2]}({', '.join(given)})"):
        model = make(shape, **spec.arguments)
    if not isinstance(model, nn.Module):
        raise CodeError(f"{source.name}: gives a {type(model).__name__}, not a torch.nn.Module")
    if not hasattr(model, "fit"):
        model.__class__ = _completed(type(model))
    return model


def _require_arguments(
    source: Code, make: Any, shape: tuple[int, ...], arguments: dict[str, Any]
) -> None:
    if getattr(make, "__init__", None) is nn.Module.__init__:
        raise CodeError(
            f"{source.name}: has no `__init__(self, shape)`: memo builds it as Class(shape, "
            "**arguments), for observations of that shape"
        )
    try:
        signature = inspect.signature(make)
    except ValueError:  # a callable that is not written in Python
        return
    try:
        signature.bind(shape, **arguments)
    except TypeError as error:
        raise CodeError(
            f"{source.name}: {error}: it is called with the shape of an observation and "
            f"`arguments`, and takes {signature}"
        ) from None


def _completed(family: type[nn.Module]) -> type[nn.Module]:
    """The class with `ByLikelihood` as its last base, so that methods of its own come first."""
    if issubclass(family, ByLikelihood) or not hasattr(family, "log_prob"):
        return family
    return type(family.__name__, (family, ByLikelihood), {"__module__": family.__module__})
