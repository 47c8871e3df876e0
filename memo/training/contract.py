"""What a model of the user's own must offer, tried out before anything is trained."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from safetensors.numpy import load, save
from torch import Tensor, nn

from memo.errors import InputError
from memo.mitigations.specs import MitigationSpec
from memo.models.build import initial_model
from memo.models.protocols import (
    ClosedForm,
    Density,
    Estimated,
    FitError,
    Fitted,
    Generative,
    ObservationModel,
    Trainable,
    is_latent_variable_model,
)
from memo.project.combinations import BY_GRADIENT
from memo.spec.model_specs import CustomSpec
from memo.spec.user_code import errors_of
from memo.training.private import require_private
from memo.training.stack import Stack, Weights

__all__ = ["TRIED", "ContractError", "check_contract", "why_not_stacked"]

TRIED = 64
"""Observations that a model is tried on, at most."""

Problems: TypeAlias = Iterator[str]


class ContractError(InputError):
    """A model of the user's own lacks something; one line for each thing."""


def check_contract(
    spec: CustomSpec, x: Tensor, mitigations: list[MitigationSpec], *, leave_one_out: bool = False
) -> None:
    """Try a model of the user's own on some observations.

    Args:
        spec: The model, with its code.
        x: Observations, (n, *shape), on the device that is trained on; a few of them are tried.
        mitigations: What its training is to be changed by.
        leave_one_out: Whether its scores are to come without refits.

    Raises:
        ContractError: Something is missing or wrong; the message says what it must be.
        CodeError: The user's own code raised an error.
    """
    trial = _Trial(spec, x[:TRIED], {m.kind for m in mitigations}, leave_one_out)
    for check in (
        _protocols,
        _settings,
        _initial_weights,
        _latent_variables,
        _training,
        _privacy,
        _state,
        _density,
        _samples,
    ):
        with errors_of(spec.source):
            problems = list(check(trial))
        if problems:
            name = spec.target if spec.source is None else spec.source.name
            raise ContractError("\n".join(f"{name}: {problem}" for problem in problems))


def why_not_stacked(spec: CustomSpec, x: Tensor) -> str | None:
    """Why models cannot be trained as one, `torch.vmap` over their weights; None where they can.

    It is a matter of the code alone: `vmap` refuses what it cannot vectorize, such as values that
    decide which way a program goes.
    """
    x = x[:TRIED]
    models = [initial_model(spec, tuple(x.shape[1:]), seed).to(x.device) for seed in (0, 1)]
    noise = _noise(models[0], x)
    try:
        together = Stack(models, x.device).loss(torch.stack([x, x]), torch.stack([noise, noise]))
    except Exception as error:
        return _reason(error)
    apart = torch.stack([cast(Trainable, model).loss(x, noise) for model in models])
    return None if _close(together, apart) else "losses of a stack are others"


@dataclass
class _Trial:
    spec: CustomSpec
    x: Tensor
    mitigations: set[str]
    leave_one_out: bool

    def __post_init__(self) -> None:
        self.shape = tuple(self.x.shape[1:])
        self.model: Any = self.initial(0)
        """Fitted or not, it is what the checks look at."""

    def initial(self, seed: int) -> nn.Module:
        return initial_model(self.spec, self.shape, seed).to(self.x.device)

    @property
    def noise(self) -> Tensor:
        return _noise(self.model, self.x)


def _noise(model: nn.Module, x: Tensor) -> Tensor:
    features = int(getattr(model, "noise_features", 0))
    generator = torch.Generator().manual_seed(1)
    return torch.randn(len(x), features, generator=generator).to(x)


def _protocols(trial: _Trial) -> Problems:
    """Whether it can be trained, and says something of log p(x)."""
    model = trial.model
    has = {name for name in ("loss", "fit", "log_prob", "log_prob_draw") if hasattr(model, name)}
    for name in sorted(has):
        if not callable(getattr(model, name)):
            yield f"`{name}` must be a method, not a {type(getattr(model, name)).__name__}"
    if {"loss", "fit"} <= has:
        yield "has both `loss` and `fit`: one of them trains it, the other must go"
    if not has & {"loss", "fit"}:
        yield (
            "cannot be trained: it needs `loss(x, noise)`, `fit(x)`, or a `log_prob(x)` whose "
            "negative is the loss"
        )
    if has & {"loss", "log_prob_draw"} - {"fit"} and not _is_count(model, "noise_features"):
        yield (
            "`noise_features` must be a number, 0 or more: how many standard normal draws `loss` "
            "and `log_prob_draw` take for each observation"
        )
    latent = is_latent_variable_model(model)
    if not has & {"log_prob", "log_prob_draw"} and not latent:
        yield (
            "says nothing of log p(x): it needs `log_prob(x)`; or `log_prob_draw(x, noise)`, whose "
            "mean is log p(x) or a bound on it; or `latent`, `observation`, `encode(x)` and "
            "`decode(z)`"
        )
    if "fit" in has and "log_prob" not in has:
        yield "has `fit` and needs `log_prob(x)` beside it"


def _settings(trial: _Trial) -> Problems:
    """Whether the experiment asks of it what it can."""
    if isinstance(trial.model, Fitted):
        for kind in sorted(trial.mitigations & set(BY_GRADIENT)):
            yield f"{kind!r} changes the steps of training, but `fit` has none"
    if trial.leave_one_out and not isinstance(trial.model, ClosedForm):
        yield (
            "scoring.design 'leave-one-out' needs `fit(x)` and `leave_one_out_log_prob(x)`; "
            "'k-fold' does not"
        )


def _initial_weights(trial: _Trial) -> Problems:
    one, same = trial.model.state_dict(), trial.initial(0).state_dict()
    for name, tensor in one.items():
        if not torch.equal(tensor, same[name]):
            yield (
                f"weights {name!r} differ from one instance to the next with the same seed: draw "
                "them with torch's own generator"
            )
        elif tensor.is_floating_point() and not tensor.isfinite().all():
            yield f"weights {name!r} are not finite at the start"
    if isinstance(trial.model, Fitted):
        return
    parameters = dict(trial.model.named_parameters())
    if not parameters:
        yield "has no parameters to train"
    for name, parameter in parameters.items():
        if not parameter.requires_grad:
            yield f"parameter {name!r} has no gradient: what is not trained must be a buffer"


def _training(trial: _Trial) -> Problems:
    if isinstance(trial.model, Fitted):
        yield from _fit(trial)
    else:
        yield from _loss(trial)


def _fit(trial: _Trial) -> Problems:
    model, again = trial.model, cast(Fitted, trial.initial(0))
    try:
        with torch.no_grad():
            yield from _same_twice("fit", lambda: [m.fit(trial.x) for m in (model, again)])
    except FitError as error:
        yield f"fit: {error}"
        return
    one, same = model.state_dict(), cast(nn.Module, again).state_dict()
    if not one:
        yield "fit: leaves nothing in `state_dict`: what it learns must lie in buffers"
    for name in one:
        if not torch.equal(one[name], same[name]):
            yield f"fit: gives other weights {name!r} for the same observations"


def _loss(trial: _Trial) -> Problems:
    model, x, noise = trial.model, trial.x, trial.noise
    found: list[Tensor] = []
    yield from _values("loss", lambda rows: model.loss(x[rows], noise[rows]), x, found)
    if not found:
        return
    if not found[0].requires_grad:
        yield "loss: has no gradient: it does not depend on the parameters, or is detached"
        return
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(
        found[0].mean(), list(parameters.values()), allow_unused=True, materialize_grads=False
    )
    for name, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            yield f"loss: has no gradient for parameter {name!r}: it is not used, or is detached"
        elif not gradient.isfinite().all():
            yield f"loss: its gradient for parameter {name!r} is not finite"


def _privacy(trial: _Trial) -> Problems:
    """Whether each observation has a gradient of its own."""
    if "dp-sgd" not in trial.mitigations:
        return
    require_private(trial.model)
    try:
        Stack([trial.model], trial.x.device).gradients(trial.x[:2], trial.noise[:2])
    except Exception as error:
        yield (
            "'dp-sgd' needs each observation's own gradient, and torch.vmap has none of this loss: "
            f"{_reason(error)}"
        )


def _state(trial: _Trial) -> Problems:
    """Whether weights that went through a file make the same model."""
    model, again = trial.model, trial.initial(1)
    try:
        again.load_state_dict(
            {name: torch.from_numpy(array) for name, array in _through_file(model).items()}
        )
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        yield (
            "its weights do not make a model again once they are read from a file: "
            f"{_reason(error)} (all that is learned must be parameters or persistent buffers, each "
            "under one name, and a buffer whose size `fit` decides must take that of the one that "
            "is loaded)"
        )
        return
    name = "log_prob" if isinstance(model, Density) else "loss"
    arguments = (trial.x,) if name == "log_prob" else (trial.x, trial.noise)
    with torch.no_grad():
        if hasattr(model, name) and not torch.equal(
            getattr(model, name)(*arguments), getattr(again, name)(*arguments)
        ):
            yield (
                f"{name}: is another one once its weights went through a file: something that it "
                "depends on is in no parameter or buffer"
            )


def _through_file(model: nn.Module) -> Weights:
    if isinstance(model, Fitted):
        state = cast(nn.Module, model).state_dict()
        weights = {name: tensor.cpu().numpy() for name, tensor in state.items()}
    else:
        (weights,) = Stack([model], next(model.parameters()).device).weights()
    return load(save({name: np.ascontiguousarray(array) for name, array in weights.items()}))


def _density(trial: _Trial) -> Problems:
    model, x, noise = trial.model, trial.x, trial.noise
    with torch.no_grad():
        if isinstance(model, Density):
            yield from _values("log_prob", lambda rows: model.log_prob(x[rows]), x, [])
        elif isinstance(model, Estimated) and not is_latent_variable_model(model):
            yield from _values(
                "log_prob_draw", lambda rows: model.log_prob_draw(x[rows], noise[rows]), x, []
            )
        if isinstance(model, ClosedForm):
            yield from _shape("leave_one_out_log_prob", model.leave_one_out_log_prob(x), (len(x),))


@torch.no_grad()
def _latent_variables(trial: _Trial) -> Problems:
    model, x = trial.model, trial.x
    if isinstance(model, Density) or not is_latent_variable_model(model):
        return
    if not _is_count(model, "latent") or model.latent < 1:
        yield "`latent` must be a number, 1 or more: how many latent variables there are"
        return
    if not isinstance(model.observation, ObservationModel):
        yield (
            "`observation` must fill memo.models.ObservationModel, as those of "
            "memo.models.observations do"
        )
        return
    encoded = model.encode(x)
    if not isinstance(encoded, tuple) or len(encoded) != 2:
        yield "encode: must return the mean and the log standard deviation of q(z | x)"
        return
    wrong = list(_shape("encode", encoded[0], (len(x), model.latent)))
    wrong = wrong or list(_shape("encode", encoded[1], (len(x), model.latent)))
    if not wrong:
        z = encoded[0].expand(2, len(x), model.latent)
        parameters = model.decode(z)
        wrong = list(_shape("decode", parameters, (2, len(x), *model.observation.parameter_shape)))
    if not wrong:
        log_prob = model.observation.log_prob(x, parameters)
        wrong = list(_shape("observation.log_prob", log_prob, (2, len(x))))
    yield from wrong


def _samples(trial: _Trial) -> Problems:
    model = trial.model
    if not isinstance(model, Generative):
        return
    draws = [torch.Generator().manual_seed(seed) for seed in (0, 0)]
    found: list[Any] = []
    yield from _same_twice("sample", lambda: found.extend(model.sample(3, g) for g in draws))
    wrong = list(_shape("sample", found[0], (3, *trial.shape)))
    yield from wrong
    if not wrong and not torch.equal(found[0], found[1]):
        yield "sample: must be a function of the generator that it is given"


def _values(name: str, value: Callable[[slice], Any], x: Tensor, found: list[Tensor]) -> Problems:
    """One finite number for each observation, the same again, whatever stands beside it."""
    everything = slice(None)
    yield from _same_twice(name, lambda: found.append(value(everything)))
    first = found[0]
    wrong = list(_shape(name, first, (len(x),)))
    if wrong:
        found.clear()
        yield from wrong
        return
    if not torch.equal(first, value(everything)):
        yield f"{name}: differs from call to call: all randomness must come in through `noise`"
    elif not _close(first[:1], value(slice(0, 1))):
        yield (
            f"{name}: of an observation depends on what stands beside it (as batch normalization "
            "makes it), and then no score is the observation's own"
        )


def _same_twice(name: str, run: Callable[[], object]) -> Problems:
    """Run it, and see that the generators that all code shares are left alone."""
    before = _global_states()
    run()
    for library, state in _global_states().items():
        if state != before[library]:
            yield f"{name}: draws from {library}'s global generator: results would not come again"


def _global_states() -> dict[str, bytes]:
    numpy_state = np.random.get_state(legacy=False)
    return {
        "random": repr(random.getstate()).encode(),
        "torch": torch.random.get_rng_state().numpy().tobytes(),
        "numpy": repr(numpy_state).encode(),
    }


def _shape(name: str, value: object, wanted: tuple[int, ...]) -> Problems:
    if not isinstance(value, Tensor):
        yield f"{name} returned a {type(value).__name__}, must be a tensor of shape {wanted}"
    elif tuple(value.shape) != wanted:
        yield f"{name} returned shape {tuple(value.shape)}, must be {wanted}"
    elif not value.is_floating_point():
        yield f"{name} returned {value.dtype}, must be floating point"
    elif not value.isfinite().all():
        yield f"{name}: {int((~value.isfinite()).sum())} of {value.numel()} numbers are not finite"


def _is_count(model: object, name: str) -> bool:
    value = getattr(model, name, None)
    return isinstance(value, int) and value >= 0


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one.double(), other.double(), rtol=1e-4, atol=1e-4)
