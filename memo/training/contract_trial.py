"""A model of the user's own on trial: demands on whatever its functions give."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from memo.mitigations.mitigation import Mitigation
from memo.models.build import initial_model
from memo.spec.model_specs import CustomSpec

Problems: TypeAlias = Iterator[str]


@dataclass
class Trial:
    """A model, the observations that it is tried on, and what an experiment asks of it."""

    spec: CustomSpec
    x: Tensor
    """(n, *shape)."""
    mitigations: Sequence[Mitigation] = ()
    leave_one_out: bool = False
    """True where scores are to come without refits."""

    def __post_init__(self) -> None:
        self.shape = tuple(self.x.shape[1:])
        self.model: Any = self.initial(0)
        """Initial, until the check of its training has fitted it."""

    def initial(self, seed: int) -> nn.Module:
        """Make the model with initial weights."""
        return initial_model(self.spec, self.shape, seed).to(self.x.device)

    @property
    def noise(self) -> Tensor:
        """Standard normal draws for the model's loss."""
        features = int(getattr(self.model, "noise_features", 0))
        generator = torch.Generator().manual_seed(1)
        return torch.randn(len(self.x), features, generator=generator).to(self.x)

    def lacks_count(self, name: str, least: int) -> bool:
        """True unless an attribute of the model is a whole number, and not below the least."""
        value = getattr(self.model, name, None)
        return not isinstance(value, int) or value < least

    def value_problems(
        self, name: str, value: Callable[[slice], Any], found: list[Tensor]
    ) -> Problems:
        """Require one finite number for each observation, the same whatever stands beside it.

        Args:
            name: Name of the function, for messages.
            value: Its values for some of the observations.
            found: Receives the values for all of them, where they are such numbers.
        """
        everything = slice(None)
        values: list[Any] = []
        yield from self.global_draws(name, lambda: values.append(value(everything)))
        first = values[0]
        wrong = list(self.tensor_problems(name, first, len(self.x)))
        yield from wrong
        if wrong:
            return
        found.append(first)
        if not torch.equal(first, value(everything)):
            yield f"{name}: differs from call to call: all randomness must come in through `noise`"
        elif not close(first[:1], value(slice(0, 1))):
            yield (
                f"{name}: of an observation depends on what stands beside it (as batch "
                "normalization makes it), and then no score is the observation's own"
            )

    def global_draws(self, name: str, run: Callable[[], object]) -> Problems:
        """Run something, and require that it leaves global random generators alone."""
        before = _global_states()
        run()
        for library, state in _global_states().items():
            if state != before[library]:
                yield (
                    f"{name}: draws from {library}'s global generator: results would not come again"
                )

    def tensor_problems(self, name: str, value: object, *wanted: int) -> Problems:
        """Require a tensor of finite floating-point numbers of the wanted shape."""
        if not isinstance(value, Tensor):
            yield f"{name} returned a {type(value).__name__}, must be a tensor of shape {wanted}"
        elif tuple(value.shape) != wanted:
            yield f"{name} returned shape {tuple(value.shape)}, must be {wanted}"
        elif not value.is_floating_point():
            yield f"{name} returned {value.dtype}, must be floating point"
        elif not value.isfinite().all():
            wrong = int((~value.isfinite()).sum())
            yield f"{name}: {wrong} of {value.numel()} numbers are not finite"


def _global_states() -> dict[str, bytes]:
    return {
        "random": repr(random.getstate()).encode(),
        "torch": torch.random.get_rng_state().numpy().tobytes(),
        "numpy": repr(np.random.get_state(legacy=False)).encode(),
    }


def reason(error: Exception) -> str:
    """The message of an error in one line."""
    return " ".join(str(error).split())


def close(one: Tensor, other: Tensor) -> bool:
    """Tell whether tensors are the same up to rounding."""
    return torch.allclose(one.double(), other.double(), rtol=1e-4, atol=1e-4)
