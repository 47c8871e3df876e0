"""The whole state of a model of the user's own, and what a call of it changes there."""

import hashlib
import random
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

State: TypeAlias = "dict[str, _Part]"
"""Everything that a model reaches by attributes, by the name that messages give it."""

_OF_MODULES = frozenset(vars(nn.Module())) - {"training"}
"""Attributes that torch itself gives each module; parameters and the like are visited by name."""

_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)

_FOLLOWED = frozenset({"builtins", "collections", "functools", "types"})
"""Modules of the standard library whose objects hold what a model may have put there; others, as
loggers and locks, change by themselves."""


@dataclass(frozen=True)
class _Part:
    thing: object
    """Kept, so that no other object gets its identity."""
    value: str
    by_others: bool
    """True where an object of a library holds it, which may remember what it has computed."""


def whole_state(model: nn.Module) -> State:
    """Take down parameters, buffers (persistent or not), attributes, and what these reach.

    Classes and functions of the model's own package are followed too: class attributes, globals
    that functions name, and variables that they close over.
    """
    package = type(model).__module__.partition(".")[0]
    state: State = {}
    seen: set[int] = set()
    waiting: list[tuple[str, Any, bool]] = [("", model, False)]
    while waiting:
        name, thing, by_others = waiting.pop()
        value = _value(thing)
        if name:
            state[name] = _Part(thing, "" if value is None else value, by_others)
        if value is None and id(thing) not in seen:
            seen.add(id(thing))
            if not isinstance(thing, Mapping | list | tuple | deque):
                by_others = not (isinstance(thing, nn.Module) or _is_own(thing, package))
            waiting += [
                (f"{name}{part}" if name else part.removeprefix("."), inner, by_others)
                for part, inner in _parts(thing, package)
            ]
    return state


def changes(before: State, after: State) -> list[str]:
    """Names of what is other, new or gone; not of what objects of libraries keep for later."""
    found = []
    for name, part in after.items():
        old = before.get(name)
        if old is None:
            if not part.by_others:
                found.append(name)
        elif old.value != part.value or (
            isinstance(part.thing, Tensor | nn.Module) and old.thing is not part.thing
        ):
            found.append(name)
    return sorted([*found, *(before.keys() - after.keys())])


def differences(one: State, other: State) -> list[str]:
    """Names of what has other values in one model than in the other."""
    return sorted(n for n, part in one.items() if n in other and other[n].value != part.value)


def untrained_tensors(model: nn.Module) -> Iterator[str]:
    """Names of tensors that require a gradient and are no parameters of the model."""
    parameters = {id(parameter) for parameter in model.parameters()}
    for name, part in whole_state(model).items():
        thing = part.thing
        if isinstance(thing, Tensor) and thing.requires_grad and id(thing) not in parameters:
            yield name


def _value(thing: Any) -> str | None:
    """The value in short; None of a thing that is no more than its parts."""
    if isinstance(thing, _PLAIN) or type(thing).__module__ == "itertools":
        return f"{type(thing).__name__} {thing!r}"
    if isinstance(thing, Tensor):
        return f"{thing.dtype} {tuple(thing.shape)} {_digest(thing)}"
    if isinstance(thing, np.ndarray) and thing.dtype != object:
        content = np.ascontiguousarray(thing).tobytes()
        return f"{thing.dtype} {thing.shape} {hashlib.sha256(content).hexdigest()}"
    if isinstance(thing, set | frozenset):
        return repr(sorted(map(repr, thing)))
    return _state_of_generator(thing)


def _state_of_generator(thing: Any) -> str | None:
    match thing:
        case torch.Generator():
            return hashlib.sha256(thing.get_state().numpy().tobytes()).hexdigest()
        case np.random.Generator():
            return repr(thing.bit_generator.state)
        case np.random.RandomState():
            return repr(thing.get_state(legacy=False))
        case random.Random():
            return hashlib.sha256(repr(thing.getstate()).encode()).hexdigest()
    return None


def _digest(tensor: Tensor) -> str:
    if tensor.layout is not torch.strided or tensor.is_meta:
        return ""
    content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.sha256(content.tobytes()).hexdigest()


def _parts(thing: Any, package: str) -> Iterator[tuple[str, Any]]:
    """Parts of a thing, each with what its name adds to that of the whole."""
    if isinstance(thing, nn.Module):
        for table in (thing._parameters, thing._buffers, thing._modules):
            yield from ((f".{name}", part) for name, part in table.items())
        own = {name: part for name, part in vars(thing).items() if name not in _OF_MODULES}
        yield from ((f".{name}", part) for name, part in own.items())
        yield from _of_classes(type(thing), package)
    elif isinstance(thing, Mapping):
        yield from ((f"[{key!r}]", part) for key, part in list(thing.items()))
    elif isinstance(thing, list | tuple | deque):
        yield from ((f"[{place}]", part) for place, part in enumerate(thing))
    elif isinstance(thing, FunctionType):
        if _is_own(thing, package):
            yield from _of_function(thing)
    elif isinstance(thing, MethodType):
        yield from ((".__self__", thing.__self__), (".__func__", thing.__func__))
    elif isinstance(thing, CellType):
        yield ".cell_contents", _content(thing)
    elif isinstance(thing, type):
        yield from _of_classes(thing, package)
    elif not isinstance(thing, ModuleType) and not _is_machinery(type(thing)):
        yield from ((f".{name}", part) for name, part in getattr(thing, "__dict__", {}).items())
        yield from _of_slots(thing, package)
        yield from _of_classes(type(thing), package)


def _of_classes(family: type, package: str) -> Iterator[tuple[str, Any]]:
    for one in family.__mro__:
        if _is_own(one, package):
            for name, part in vars(one).items():
                if not name.startswith("__") or isinstance(part, FunctionType):
                    inner = getattr(part, "__func__", getattr(part, "fget", part))
                    yield f".{one.__name__}.{name}", inner


def _of_slots(thing: Any, package: str) -> Iterator[tuple[str, Any]]:
    for one in type(thing).__mro__:
        slots = vars(one).get("__slots__", ()) if _is_own(one, package) else ()
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(thing, name):
                yield f".{name}", getattr(thing, name)


def _of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            yield f" (global {name})", function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield f" (variable {name})", _content(cell)
    yield ".__defaults__", function.__defaults__ or ()
    yield ".__dict__", function.__dict__


def _names(code: CodeType) -> set[str]:
    inner = [part for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing has been put into it yet
        return None


def _is_machinery(family: type) -> bool:
    library = family.__module__.partition(".")[0]
    return library in sys.stdlib_module_names and library not in _FOLLOWED


def _is_own(thing: Any, package: str) -> bool:
    return str(getattr(thing, "__module__", "")).partition(".")[0] == package
