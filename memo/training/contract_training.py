"""Checks of how a model of the user's own is trained, and of the weights that it gets."""

import copy
from typing import Any, cast

import numpy as np
import torch
from safetensors.numpy import load, save
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.weight_norm import WeightNorm

from memo.models.protocols import Density, Estimated, FitError, Fitted, Initialized, has_log_p
from memo.models.state import StateError, load_state
from memo.training.contract_state import (
    changes,
    differences,
    untrained_tensors,
    whole_state,
)
from memo.training.contract_trial import Problems, Trial, reason
from memo.training.stack import Stack, Weights

_TYPES = (torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool)
"""Types of tensors that files of weights hold without loss."""


def copy_problems(trial: Trial) -> Problems:
    """Require tensors that have their shapes and can be copied and written to files."""
    model = trial.model
    tensors = [*model.named_parameters(), *model.named_buffers()]
    lazy = [name for name, tensor in tensors if is_lazy(tensor)]
    if lazy:
        yield (
            f"weights {lazy[0]!r} have no shape before data come, as those of nn.LazyLinear: take "
            "sizes from `shape`, as in nn.Linear(math.prod(shape), ...)"
        )
        return
    for name, tensor in tensors:
        if tensor.dtype not in _TYPES:
            yield f"weights {name!r} are {tensor.dtype}, must be torch.float32 or torch.float64"
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            yield f"`state_dict` has a {type(value).__name__} {name!r}: all must be tensors"
    for name, module in model.named_modules():
        if any(isinstance(hook, WeightNorm) for hook in module._forward_pre_hooks.values()):
            yield (
                f"{name!r} is normalized by torch.nn.utils.weight_norm, of which there are no "
                "copies: use torch.nn.utils.parametrizations.weight_norm"
            )
            return
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    for tied in names.values():
        if len(tied) > 1:
            yield (
                f"parameters {' and '.join(map(repr, tied))} are one tensor under several names: "
                "keep it under one, and use it from there, as in functional.linear(x, weight)"
            )
    for name in untrained_tensors(model):
        yield (
            f"{name!r} is a tensor that requires a gradient and no parameter, so that it would "
            "never be trained: make it an nn.Parameter (of layers in a list: an nn.ModuleList), a "
            "buffer without a gradient, or compute it where it is used"
        )
    try:
        copy.deepcopy(model)
    except Exception as error:
        yield f"cannot be copied, as copy.deepcopy(model) does it: {reason(error)}"


def initial_problems(trial: Trial) -> Problems:
    """Require finite initial weights that the seed decides, all of them trained."""
    other = trial.initial(0)
    others = {id(tensor) for tensor in (*other.parameters(), *other.buffers())}
    for name, tensor in (*trial.model.named_parameters(), *trial.model.named_buffers()):
        if id(tensor) in others:
            yield (
                f"weights {name!r} are the same object in every model that is built: each fold "
                "trains a model of its own, so that its layers must be made anew each time"
            )
            return
    parameters = dict(trial.model.named_parameters())
    one, same = trial.model.state_dict(), other.state_dict()
    for name, tensor in one.items():
        if not torch.equal(tensor, same[name]):
            yield (
                f"weights {name!r} differ from one instance to the next with the same seed: draw "
                "them with torch's own generator"
            )
        elif tensor.isnan().any() or (name in parameters and not tensor.isfinite().all()):
            yield f"weights {name!r} are not finite at the start"
    if isinstance(trial.model, Fitted):
        return
    if not parameters:
        yield "has no parameters to train"
    frozen = [name for name, parameter in parameters.items() if not parameter.requires_grad]
    if frozen:
        more = f" and {len(frozen) - 1} more" if len(frozen) > 1 else ""
        have = "have" if more else "has"
        yield (
            f"parameter {frozen[0]!r}{more} {have} no gradient: what is not trained must be a "
            "buffer"
        )


def initialize_problems(trial: Trial) -> Problems:
    """Have the model set what comes from the data, and require that files of weights keep it."""
    model, again = trial.model, cast(Any, trial.initial(0))
    if not isinstance(cast(object, model), Initialized):
        return
    kept = {name: (t.shape, t.dtype) for name, t in model.state_dict().items()}
    before = whole_state(model)
    yield from trial.global_draws(
        "initialize", lambda: [trial.call(m, "initialize", trial.x) for m in (model, again)]
    )
    for name in changes(before, whole_state(model)):
        if name not in kept:
            yield (
                f"initialize: sets {name!r}, which files of weights do not keep: make it a "
                "persistent buffer (self.register_buffer) or a parameter in `__init__`"
            )
    for name in untrained_tensors(model):
        yield f"initialize: leaves {name!r} with a gradient: assign its .detach()"
    one, same = model.state_dict(), again.state_dict()
    for name, (shape, dtype) in kept.items():
        tensor = one[name]
        if (tensor.shape, tensor.dtype) != (shape, dtype):
            yield (
                f"initialize: makes {name!r} {tensor.dtype} of shape {tuple(tensor.shape)}, and it "
                f"was {dtype} of {tuple(shape)}: all models of an experiment must be alike"
            )
        elif tensor.is_floating_point() and not tensor.isfinite().all():
            yield f"initialize: leaves {name!r} with numbers that are not finite"
        elif not torch.equal(tensor, same[name]):
            yield f"initialize: gives other weights {name!r} for the same observations"


def training_problems(trial: Trial) -> Problems:
    """Fit the model, or require a loss that trains each parameter."""
    return _fit(trial) if isinstance(trial.model, Fitted) else _loss(trial)


def _fit(trial: Trial) -> Problems:
    model, again = trial.model, cast(Any, trial.initial(0))
    try:
        yield from trial.global_draws(
            "fit", lambda: [trial.fit(m, trial.x) for m in (model, again)]
        )
    except FitError as error:
        yield f"fit: {error}"
        return
    for name in untrained_tensors(model):
        yield f"fit: leaves {name!r} with a gradient: assign its .detach()"
    one, same = model.state_dict(), again.state_dict()
    if not one:
        yield "fit: leaves nothing in `state_dict`: what it learns must lie in buffers"
    for name in one:
        if not torch.equal(one[name], same[name]):
            yield f"fit: gives other weights {name!r} for the same observations"


def _loss(trial: Trial) -> Problems:
    model, x, noise = trial.model, trial.x, trial.noise
    wrong = list(
        trial.value_problems(
            "loss", lambda own, rows: trial.call(own, "loss", x[rows], noise[rows])
        )
    )
    yield from wrong
    if wrong:
        return
    losses = trial.call(model, "loss", x, noise)
    if not losses.requires_grad:
        yield "loss: has no gradient: it does not depend on the parameters, or is detached"
        return
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(losses.mean(), [*parameters.values()], allow_unused=True)
    for name, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            wrong.append(
                f"loss: has no gradient for parameter {name!r}: it is not used, or is detached; "
                "leave it out, as by bias=False of a last layer whose constant changes nothing"
            )
        elif not gradient.isfinite().all():
            wrong.append(f"loss: its gradient for parameter {name!r} is not finite")
    yield from wrong
    if not wrong:
        yield from _stack_problems(trial, parameters, gradients)


def _stack_problems(
    trial: Trial, parameters: dict[str, Tensor], gradients: tuple[Tensor, ...]
) -> Problems:
    """Require the same gradients where the loss is a function of weights that it is given."""
    trial.called = "copy.deepcopy(model).to('meta'), and its loss as a function of the weights"
    x, noise = trial.x[None], trial.noise[None]
    stack = Stack([trial.model], trial.x.device)
    weight = x.new_full((1, len(trial.x)), 1 / len(trial.x))
    found = stack.gradient(x, noise, weight, *stack.parameters, *stack.buffers)
    for name, one, other in zip(parameters, gradients, found, strict=True):
        rounding = 1e-3 * float(one.abs().max()) + 1e-6
        if not torch.allclose(one, other, rtol=1e-2, atol=rounding):
            yield (
                f"loss: does not depend on parameter {name!r} as it should once the model is "
                "copied: it reads this parameter past the model's own attributes, as from a "
                "function that closes over it"
            )


def mitigation_problems(trial: Trial) -> Problems:
    """Require what mitigations ask of a model that is trained."""
    if not isinstance(trial.model, Fitted):
        stack = Stack([trial.model], trial.x.device)
        for mitigation in trial.mitigations:
            yield from mitigation.custom_model_problems(stack, trial.x)


def state_problems(trial: Trial) -> Problems:
    """Require that weights which went through a file make the same model."""
    model, again = trial.copied(False), trial.initial(1).eval()
    try:
        load_state(again, _through_file(model))
    except (StateError, KeyError, TypeError, ValueError, AttributeError) as error:
        yield (
            "its weights do not make a model again once they are read from a file: "
            f"{reason(error)} (all that is learned must be parameters or persistent buffers, each "
            "under one name, and a buffer whose size `fit` decides must take that of the one that "
            "is loaded)"
        )
        return
    calls: dict[str, list[Tensor]] = {"loss": [trial.x, trial.noise]}
    if isinstance(model, Density):
        calls["log_prob"] = [trial.x]
    elif isinstance(model, Estimated):
        calls["log_prob_draw"] = [trial.x, trial.noise]
    if not has_log_p(model):
        calls["sample"] = []
    for name, arguments in calls.items():
        if not hasattr(model, name):
            continue
        samples = name == "sample"
        values = [
            trial.drawn(one, len(trial.x)) if samples else trial.call(one, name, *arguments)
            for one in (model, again)
        ]
        each = trial.shape if samples else ()
        wrong = list(trial.tensor_problems(name, values[0], len(trial.x), *each))
        if not wrong and not torch.equal(*values):
            wrong = [
                f"{name}: is another one once its weights went through a file: something that it "
                f"depends on is in no parameter or buffer{_others(model, again)}"
            ]
        yield from wrong
        if wrong:
            return


def _others(model: nn.Module, again: nn.Module) -> str:
    """Name what differs, as a permutation that was drawn when the model was built."""
    names = differences(whole_state(model), whole_state(again))
    return f" ({', '.join(map(repr, names[:5]))})" if names else ""


def _through_file(model: nn.Module) -> Weights:
    if isinstance(model, Fitted):
        weights = {name: t.cpu().numpy() for name, t in cast(Any, model).state_dict().items()}
    else:
        (weights,) = Stack([model], next(model.parameters()).device).weights()
    return load(save({name: np.ascontiguousarray(array) for name, array in weights.items()}))
