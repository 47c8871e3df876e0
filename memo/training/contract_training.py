"""Checks of how a model of the user's own is trained, and of the weights that it gets."""

from typing import Any, cast

import numpy as np
import torch
from safetensors.numpy import load, save
from torch import Tensor, nn

from memo.models.protocols import Density, FitError, Fitted
from memo.training.contract_trial import Problems, Trial, reason
from memo.training.stack import Stack, Weights


def initial_problems(trial: Trial) -> Problems:
    """Require finite initial weights that the seed decides, all of them trained."""
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


def training_problems(trial: Trial) -> Problems:
    """Fit the model, or require a loss that trains each parameter."""
    return _fit(trial) if isinstance(trial.model, Fitted) else _loss(trial)


def _fit(trial: Trial) -> Problems:
    model, again = trial.model, cast(Any, trial.initial(0))
    try:
        with torch.no_grad():
            yield from trial.global_draws("fit", lambda: [m.fit(trial.x) for m in (model, again)])
    except FitError as error:
        yield f"fit: {error}"
        return
    one, same = model.state_dict(), again.state_dict()
    if not one:
        yield "fit: leaves nothing in `state_dict`: what it learns must lie in buffers"
    for name in one:
        if not torch.equal(one[name], same[name]):
            yield f"fit: gives other weights {name!r} for the same observations"


def _loss(trial: Trial) -> Problems:
    model, x, noise = trial.model, trial.x, trial.noise
    found: list[Tensor] = []
    yield from trial.value_problems("loss", lambda rows: model.loss(x[rows], noise[rows]), found)
    if found and not found[0].requires_grad:
        yield "loss: has no gradient: it does not depend on the parameters, or is detached"
    elif found:
        parameters = dict(model.named_parameters())
        gradients = torch.autograd.grad(found[0].mean(), [*parameters.values()], allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            if gradient is None:
                yield (
                    f"loss: has no gradient for parameter {name!r}: it is not used, or is detached"
                )
            elif not gradient.isfinite().all():
                yield f"loss: its gradient for parameter {name!r} is not finite"


def mitigation_problems(trial: Trial) -> Problems:
    """Require what mitigations ask of a model that is trained."""
    if not isinstance(trial.model, Fitted):
        stack = Stack([trial.model], trial.x.device)
        for mitigation in trial.mitigations:
            yield from mitigation.custom_model_problems(stack, trial.x)


def state_problems(trial: Trial) -> Problems:
    """Require that weights which went through a file make the same model."""
    model, again = trial.model, trial.initial(1)
    weights = {name: torch.from_numpy(array) for name, array in _through_file(model).items()}
    try:
        again.load_state_dict(weights)
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        yield (
            "its weights do not make a model again once they are read from a file: "
            f"{reason(error)} (all that is learned must be parameters or persistent buffers, each "
            "under one name, and a buffer whose size `fit` decides must take that of the one that "
            "is loaded)"
        )
        return
    exact = isinstance(model, Density)
    name, arguments = ("log_prob", [trial.x]) if exact else ("loss", [trial.x, trial.noise])
    with torch.no_grad():
        if hasattr(model, name) and not torch.equal(
            *(getattr(one, name)(*arguments) for one in (model, again))
        ):
            yield (
                f"{name}: is another one once its weights went through a file: something that it "
                "depends on is in no parameter or buffer"
            )


def _through_file(model: nn.Module) -> Weights:
    if isinstance(model, Fitted):
        weights = {name: t.cpu().numpy() for name, t in cast(Any, model).state_dict().items()}
    else:
        (weights,) = Stack([model], next(model.parameters()).device).weights()
    return load(save({name: np.ascontiguousarray(array) for name, array in weights.items()}))
