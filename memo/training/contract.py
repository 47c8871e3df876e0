"""The demands on a model of the user's own, tried out before anything is trained."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from memo.errors import InputError
from memo.mitigations.mitigation import Mitigation
from memo.models.protocols import (
    ClosedForm,
    Fitted,
    Generative,
    Initialized,
    has_log_p,
    is_latent_variable_model,
    takes_generator,
)
from memo.spec.model_specs import CustomSpec
from memo.spec.user_code import errors_of
from memo.training import contract_density, contract_training
from memo.training.contract_trial import Problems, Trial, close, reason
from memo.training.stack import Stack

TRIED = 64
"""Observations that a model is tried on, at most."""


class ContractError(InputError):
    """A model of the user's own lacks something; one line for each thing."""


METHODS = {
    "loss": ("x", "noise"),
    "fit": ("x",),
    "initialize": ("x",),
    "log_prob": ("x",),
    "log_prob_draw": ("x", "noise"),
    "leave_one_out_log_prob": ("x",),
    "sample": ("count", "generator"),
}
"""Functions that memo calls where a model has them, with their arguments."""

LATENT_METHODS = {"encode": ("x",), "decode": ("z",)}
"""Those of a latent-variable model."""


def check_contract(
    spec: CustomSpec,
    x: Tensor,
    mitigations: Sequence[Mitigation],
    *,
    leave_one_out: bool = False,
    samples: int = 3,
    encodes: bool = False,
    sampled: bool = False,
) -> None:
    """Try a model of the user's own on some observations.

    Args:
        spec: The model, with its code.
        x: Observations, (n, *shape), on the device that is trained on; a few of them are tried.
        mitigations: Mitigations of the experiment.
        leave_one_out: True where scores are to come without refits.
        samples: Samples that are drawn at a time.
        encodes: True where distances are to be measured in the space of the model's encoder.
        sampled: True where log p is to be estimated from samples.

    Raises:
        ContractError: Something is missing or wrong; the message says what it must be.
        CodeError: The user's own code raised an error.
    """
    trial = Trial(spec, x[:TRIED], mitigations, leave_one_out, samples, encodes, sampled)
    for check in (
        _signature_problems,
        _protocol_problems,
        _setting_problems,
        contract_training.copy_problems,
        contract_training.initial_problems,
        contract_training.initialize_problems,
        contract_density.latent_variable_problems,
        contract_training.training_problems,
        contract_training.mitigation_problems,
        contract_training.state_problems,
        contract_density.density_problems,
        contract_density.sample_problems,
    ):
        with errors_of(spec.source, lambda: trial.called):
            problems = list(check(trial))
        if problems:
            name = spec.target if spec.source is None else spec.source.name
            raise ContractError("\n".join(f"{name}: {problem}" for problem in problems))


def why_not_stacked(spec: CustomSpec, x: Tensor) -> str | None:
    """Say why models cannot be trained as one, by `torch.vmap` over their weights; or None.

    The code alone decides: `vmap` refuses what it cannot vectorize, such as values that decide
    which way a program goes.
    """
    trial = Trial(spec, x[:TRIED])
    x, noise, models = trial.x, trial.noise, [trial.model, trial.initial(1)]
    for model in models:
        if isinstance(model, Initialized):
            trial.call(model, "initialize", x)
    try:
        together = Stack(models, x.device).loss(torch.stack([x, x]), torch.stack([noise, noise]))
    except Exception as error:
        return reason(error)
    apart = torch.stack([model.loss(x, noise) for model in models])
    return None if close(together, apart) else "losses of a stack are others"


def _signature_problems(trial: Trial) -> Problems:
    """Require functions that take what memo calls them with."""
    model: Any = trial.model
    latent = is_latent_variable_model(model)
    methods = METHODS | LATENT_METHODS if latent else METHODS
    if isinstance(model, Fitted) and takes_generator(model):
        methods = methods | {"fit": ("x", "generator")}
    for name, arguments in methods.items():
        if not hasattr(model, name):
            continue
        function = getattr(model, name)
        if not callable(function):
            yield f"`{name}` must be a method, not a {type(function).__name__}"
            continue
        try:
            signature = inspect.signature(function)
        except ValueError:  # a callable that is not written in Python
            continue
        call = f"{name}({', '.join(arguments)})"
        try:
            bound = signature.bind(*arguments)
        except TypeError:
            yield f"`{name}` takes {signature}, but memo calls it as {call}"
            continue
        first = signature.parameters[next(iter(bound.arguments))]
        if name == "initialize" and first.default is not inspect.Parameter.empty:
            yield (
                f"`initialize` takes {signature}, but memo calls it as {call}, with the training "
                "set: rename it if it means something else"
            )


def _protocol_problems(trial: Trial) -> Problems:
    """Require that the model can be trained, and says something of log p(x)."""
    model: Any = trial.model
    has = {name for name in METHODS if hasattr(model, name)}
    if {"loss", "fit"} <= has:
        yield "has both `loss` and `fit`: one of them trains it, the other must go"
    if {"initialize", "fit"} <= has:
        yield "has both `initialize` and `fit`: `fit` has all the data that it needs"
    if not has & {"loss", "fit"}:
        yield (
            "cannot be trained: it needs `loss(x, noise)`, `fit(x)` or `fit(x, generator)`, or a "
            "`log_prob(x)` whose negative is the loss"
        )
    if has & {"loss", "log_prob_draw"} - {"fit"} and trial.lacks_count("noise_features", 0):
        yield (
            "`noise_features` must be a number, 0 or more: how many standard normal draws `loss` "
            "and `log_prob_draw` take for each observation"
        )
    if not has_log_p(model) and not isinstance(model, Generative):
        yield (
            "says nothing of log p(x): it needs `log_prob(x)`; or `log_prob_draw(x, noise)`, whose "
            "mean is log p(x) or a bound on it; or `latent`, `observation`, `encode(x)` and "
            "`decode(z)`; or `sample(count, generator)` alone, for scoring.likelihood {kind: "
            "samples}"
        )
    elif not has_log_p(model) and not trial.sampled:
        yield (
            "has samples and says nothing of log p(x): it needs `log_prob(x)` or "
            "`log_prob_draw(x, noise)`, or scoring.likelihood {kind: samples}, which estimates "
            "log p from samples"
        )
    elif trial.sampled and not isinstance(model, Generative):
        yield "has no `sample(count, generator)`, which scoring.likelihood 'samples' needs"


def _setting_problems(trial: Trial) -> Problems:
    """Require that the experiment asks of the model what it can do."""
    if isinstance(trial.model, Fitted):
        for kind in sorted({m.kind for m in trial.mitigations if m.by_gradient}):
            yield f"{kind!r} changes the steps of training, but `fit` has none"
    if isinstance(trial.model, Initialized):
        for mitigation in trial.mitigations:
            if mitigation.by_observation:
                yield (
                    f"{mitigation.kind!r} does not go with `initialize`, which reads the data "
                    "without noise, so that epsilon would not count it"
                )
    if trial.encodes and not is_latent_variable_model(trial.model):
        yield ("space 'encoder' needs `latent`, `observation`, `encode(x)` and `decode(z)`")
    if trial.leave_one_out and not isinstance(trial.model, ClosedForm):
        yield (
            "scoring.design 'leave-one-out' needs `fit(x)` and `leave_one_out_log_prob(x)`; "
            "'k-fold' does not"
        )
