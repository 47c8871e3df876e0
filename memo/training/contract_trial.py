"""A model of the user's own on trial: demands on whatever its functions give."""

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from memo.mitigations.mitigation import Mitigation
from memo.models.build import initial_model
from memo.models.protocols import fit_to
from memo.models.resolution import is_short, precision_of
from memo.spec.model_specs import CustomSpec
from memo.training.contract_state import changes, whole_state

Problems: TypeAlias = Iterator[str]
Value: TypeAlias = Callable[[Any, Tensor], Any]
"""From a model and indices of observations to a number, or several, for each of them."""

SOURCES = {
    "loss": "make all that is random from `noise`, masks of dropout too (nn.Dropout draws its own)",
    "sample": "draw with the generator that is given, as torch.randn(..., generator=generator); "
    "`sample` of torch.distributions takes none",
    "fit": "draw with a generator that it is given, as `fit(x, generator)`",
    "initialize": "it must draw nothing",
}
"""Where random numbers come from in the functions of a model."""

EVAL, BOTH = (False,), (True, False)
"""Modes to try a function in, as `nn.Module.training` says them."""


@dataclass
class Trial:
    """A model, the observations that it is tried on, and what an experiment asks of it."""

    spec: CustomSpec
    x: Tensor
    """(n, *shape)."""
    mitigations: Sequence[Mitigation] = ()
    leave_one_out: bool = False
    """True where scores are to come without refits."""
    samples: int = 3
    """Samples that are drawn from it at a time."""
    encodes: bool = False
    """True where distances are to be measured in the space of its encoder."""
    sampled: bool = False
    """True where log p is to be estimated from samples."""
    called: str = ""
    """The last call of a function of the model."""

    def __post_init__(self) -> None:
        self.shape = tuple(self.x.shape[1:])
        self.model: Any = self.initial(0)
        """Initial, until the checks of `initialize` or `fit` have changed it."""

    def initial(self, seed: int) -> nn.Module:
        """Make the model with initial weights."""
        return initial_model(self.spec, self.shape, seed).to(self.x.device)

    def copied(self, training: bool) -> Any:
        """Copy the model as it is by now, in train or eval mode."""
        return copy.deepcopy(self.model).train(training)

    @property
    def everything(self) -> Tensor:
        """Indices of all observations."""
        return torch.arange(len(self.x), device=self.x.device)

    @property
    def noise(self) -> Tensor:
        """Standard normal draws for the model's loss."""
        features = int(getattr(self.model, "noise_features", 0))
        generator = torch.Generator().manual_seed(1)
        return torch.randn(len(self.x), features, generator=generator).to(self.x)

    def call(self, model: Any, name: str, *arguments: Any) -> Any:
        """Call a function of a model, with autograd off unless it is the loss."""
        self.called = f"{name}({', '.join(map(_described, arguments))})"
        with torch.set_grad_enabled(name == "loss"):
            return getattr(model, name)(*arguments)

    def fit(self, model: Any, x: Tensor) -> Any:
        """Have a model fit itself, with autograd off and the same generator each time."""
        self.called = f"fit({_described(x)})"
        with torch.no_grad():
            fit_to(model, x, seed=1)
        return model

    def drawn(self, model: Any, count: int) -> Any:
        """Draw samples, those of the same generator each time."""
        return self.call(model, "sample", count, torch.Generator().manual_seed(0))

    def lacks_count(self, name: str, least: int) -> bool:
        """True unless an attribute of the model is a whole number, and not below the least."""
        value = getattr(self.model, name, None)
        return not isinstance(value, int) or value < least

    def value_problems(
        self, name: str, value: Value, *each: int, modes: Sequence[bool] = BOTH
    ) -> Problems:
        """Require finite numbers of each observation that nothing but itself decides.

        Args:
            name: Name of the function, for messages.
            value: Its values.
            each: Their shape for one observation.
            modes: The modes that it is tried in.
        """
        for training in modes:
            model = self.copied(training)
            values: list[Any] = []
            run = partial(value, model, self.everything)
            problems = list(self.changes_by(name, model, run, values))
            problems = problems or list(self.tensor_problems(name, *values, len(self.x), *each))
            problems = problems or list(self._company_problems(name, model, value, *values))
            yield from problems
            if problems:
                return

    def changes_by(
        self, name: str, model: nn.Module, run: Callable[[], Any], found: list[Any]
    ) -> Problems:
        """Require that a run changes neither the model nor global generators; keep its result."""
        before = whole_state(model)
        yield from self.global_draws(name, lambda: found.append(run()))
        changed = changes(before, whole_state(model))
        if changed:
            mode = "train" if model.training else "eval"
            yield (
                f"{name}: changes the model when it is called in {mode} mode "
                f"({', '.join(map(repr, changed[:5]))}{', ...' if len(changed) > 5 else ''}): "
                "memo calls it as a function of weights that come from files, so that the change "
                "would be lost in training, and in scoring come from the observations that are "
                f"scored; {_cure(model, changed)}"
            )

    def _company_problems(self, name: str, model: Any, value: Value, first: Tensor) -> Problems:
        """Require the same of each observation again, after others, and in other company."""
        everything, n = self.everything, len(self.x)
        if not torch.equal(first, value(model, everything)):
            yield f"{name}: differs from call to call: all randomness must come in through `noise`"
            return
        other = self.copied(model.training)
        value(other, everything[n // 2 :])
        if not torch.equal(first, value(other, everything)):
            yield (
                f"{name}: of an observation depends on which others were seen before it: what "
                "comes from the data must be set in `initialize(x)`"
            )
            return
        for rows in (everything.flip(0), everything[: n // 2 + 1], everything[:1], everything[-1:]):
            if not close(first[rows], value(model, rows)):
                yield (
                    f"{name}: of an observation depends on what stands beside it (as batch "
                    "normalization makes it), and then no score is the observation's own"
                )
                return

    def global_draws(self, name: str, run: Callable[[], object]) -> Problems:
        """Run something, and require that it leaves global random generators alone."""
        before = _global_states()
        run()
        for library, state in _global_states().items():
            if state != before[library]:
                yield (
                    f"{name}: draws from {library}'s global generator: results would not come "
                    f"again; {SOURCES.get(name, SOURCES['loss'])}"
                )

    def digit_problems(self, name: str, value: Value) -> Problems:
        """Require log p to have more digits than types of 16 bits have, whatever it returns.

        Parameters are moved a little: those that are 0 or 1 at the start would make log p of whole
        numbers a number of few digits.
        """
        model = self.copied(False)
        stream = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01 * torch.rand(parameter.shape, generator=stream).to(parameter))
        values = value(model, self.everything)
        if is_short(precision_of(values)):
            yield (
                f"{name}: has no more digits than bfloat16 or float16, although it returns "
                f"{values.dtype}: compute log p in float32 or float64, outside of autocast"
            )

    def tensor_problems(self, name: str, value: object, *wanted: int) -> Problems:
        """Require a tensor of finite floating-point numbers of the wanted shape."""
        if not isinstance(value, Tensor):
            yield f"{name} returned a {type(value).__name__}, must be a tensor of shape {wanted}"
        elif tuple(value.shape) != wanted:
            yield f"{name} returned shape {tuple(value.shape)}, must be {wanted}"
        elif value.dtype not in (torch.float32, torch.float64):
            yield f"{name} returned {value.dtype}, must be torch.float32 or torch.float64"
        elif not value.isfinite().all():
            wrong = int((~value.isfinite()).sum())
            yield f"{name}: {wrong} of {value.numel()} numbers are not finite"


def _cure(model: nn.Module, changed: Sequence[str]) -> str:
    """Advise on parts of a model that a call of it changes."""
    for path, module in model.named_modules():
        if path and any(name.startswith(f"{path}.") for name in changed):
            kind = type(module).__name__
            if isinstance(module, nn.modules.batchnorm._NormBase):
                return (
                    f"{path!r} is a {kind}, which keeps statistics of batches: nn.GroupNorm and "
                    "nn.LayerNorm keep none"
                )
            if kind == "_SpectralNorm" or f"{path}.weight_u" in changed:
                return (
                    f"{path!r} is normalized by vectors that each call improves: divide the weight "
                    "by torch.linalg.matrix_norm(weight, 2) instead"
                )
    return (
        "what comes from the data belongs into `initialize(x)`, which memo calls once with each "
        "model's training set; what is the same in every call into `__init__`; and what one call "
        "alone needs into local variables"
    )


def _described(argument: Any) -> str:
    if not isinstance(argument, Tensor):
        return str(argument) if isinstance(argument, int) else f"a {type(argument).__name__}"
    return f"{tuple(argument.shape)} {str(argument.dtype).removeprefix('torch.')}"


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
