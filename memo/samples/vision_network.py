"""Features of images by a network of torchvision's whose weights lie in a file."""

import difflib
import hashlib
import io
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from memo.samples.spaces import Embedding, EmbeddingError

NAMED = 3
"""Keys of a file that a message names."""

PIECE = 32
"""Images that pass through a network at a time."""

AUXILIARY = ("AuxLogits", "aux1", "aux2")
"""Classifiers beside the last one, which Inception and GoogLeNet have for their training alone."""


def vision_embedding(
    architecture: str, weights: str, layer: str | None, shape: tuple[int, ...], device: torch.device
) -> Embedding:
    """Features of images: pixels in [0, 1], (B, 1 or 3, H, W), to rows, float32.

    Grey images get three equal channels. An image is resized as a whole, nothing cropped, to the
    side, with the interpolation, and normalized by the means and deviations of the transform that
    torchvision has for its own weights of the architecture. The network is in eval mode.

    Args:
        architecture: A classifier of `torchvision.models`: `resnet18`, `inception_v3`.
        weights: File of its state dict: .safetensors, or what `torch.save` wrote, which is read
            with `weights_only=True`.
        layer: Module whose output is taken, flattened; None for what the last layer, the
            classifier of 1,000 classes, is given.
        shape: Shape of one observation.
        device: Where the network runs.

    Raises:
        EmbeddingError: These are no images, there is no such architecture or layer, or the file is
            missing, is no state dict or another network's.
    """
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise EmbeddingError(
            "'torchvision' is for grey and colour images, not for observations of "
            f"{' x '.join(map(str, shape))}"
        )
    network, prepare = _network(architecture)
    head = _without_head(network)
    _load(network, architecture, _state(Path(weights)), head, weights)
    taken = _module(network, architecture, layer)
    network.eval().requires_grad_(False).to(device)

    def features(x: Tensor) -> Tensor:
        found: list[Tensor] = []
        hook = None if taken is None else taken.register_forward_hook(_keeping(found, layer))
        try:
            output = network(prepare(x.to(device)))
        finally:
            if hook is not None:
                hook.remove()
        if taken is not None and len(found) != 1:
            raise EmbeddingError(f"layer {layer!r} has {len(found)} outputs for an image, not one")
        return (found[0] if found else output).flatten(1).float().cpu()

    return lambda x: torch.cat([features(part) for part in torch.split(x, PIECE)])


def content_of(weights: str) -> str:
    """SHA-256 of a file of weights.

    Raises:
        EmbeddingError: There is none, or it cannot be read.
    """
    try:
        status = Path(weights).stat()
        return _content(weights, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise _unreadable(Path(weights), error) from None


@lru_cache(maxsize=16)
def _content(weights: str, _changed: int, _size: int) -> str:
    with Path(weights).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unreadable(file: Path, error: OSError) -> EmbeddingError:
    return EmbeddingError(
        f"{file}: weights cannot be read: {error.strerror or error}; `weights` names a file from "
        "the project's folder, and memo downloads none"
    )


def _network(architecture: str) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """The architecture with random weights, and what makes its input of pixels in [0, 1].

    The global stream of random numbers stays where it is.
    """
    from torchvision import models  # noqa: PLC0415 - a slow import, for one kind of space
    from torchvision.transforms import functional  # noqa: PLC0415

    known = models.list_models(module=models)
    if architecture not in known:
        near = difflib.get_close_matches(architecture, known, n=3)
        raise EmbeddingError(
            f"{architecture!r} is no classifier of torchvision.models"
            + (f"; did you mean {', '.join(map(repr, near))}?" if near else "")
        )
    own = {"init_weights": False} if architecture in ("inception_v3", "googlenet") else {}
    with torch.random.fork_rng(devices=[]):
        network: nn.Module = models.get_model(architecture, weights=None, **own)
    if hasattr(network, "transform_input"):  # as for all weights of these that torchvision has
        setattr(network, "transform_input", True)  # noqa: B010 - unknown to the type
    preset = models.get_model_weights(architecture).DEFAULT.transforms()
    side = preset.crop_size * 2

    def prepared(x: Tensor) -> Tensor:
        colour = x.expand(-1, 3, -1, -1)
        resized = functional.resize(colour, side, preset.interpolation, antialias=True)
        normal: Tensor = functional.normalize(resized, preset.mean, preset.std)
        return normal

    return network, prepared


def _without_head(network: nn.Module) -> tuple[str, ...]:
    """Take classifiers out of a network; returns beginnings of their keys in a state dict."""
    kinds = (nn.Linear, nn.Conv2d)
    last = [name for name, module in network.named_modules() if isinstance(module, kinds)][-1]
    parent, _, name = last.rpartition(".")
    setattr(network.get_submodule(parent), name, nn.Identity())
    for auxiliary in AUXILIARY:
        if hasattr(network, auxiliary):
            setattr(network, auxiliary, None)
    return (f"{last}.", *(f"{auxiliary}." for auxiliary in AUXILIARY))


def _state(file: Path) -> Mapping[str, Any]:
    """The contents of a file, of which nothing is unpickled but tensors."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise _unreadable(file, error) from None
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load(content)
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise EmbeddingError(
            f"{file}: holds more than tensors, or is no file of torch.save, and memo unpickles "
            "nothing else; save `model.state_dict()` alone, as .safetensors or by torch.save"
        ) from None
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise EmbeddingError(f"{file}: is no whole file of weights: {reason:.200}") from None
    if isinstance(state, Mapping) and state and all(map(torch.is_tensor, state.values())):
        return state
    keys = ", ".join(map(repr, list(state)[:NAMED])) if isinstance(state, Mapping) else ""
    raise EmbeddingError(
        f"{file}: holds {f'a dict of {keys}' if keys else f'a {type(state).__name__}'}, and no "
        "state dict; save `model.state_dict()` alone"
    )


def _load(
    network: nn.Module,
    architecture: str,
    state: Mapping[str, Any],
    head: tuple[str, ...],
    weights: str,
) -> None:
    """Load a state dict into a network, both without their classifiers.

    Raises:
        EmbeddingError: They have other keys, or shapes.
    """
    wanted = network.state_dict()
    given = {key: value for key, value in state.items() if not key.startswith(head)}
    counters = {key for key in wanted if key.endswith(".num_batches_tracked")}
    problems = {
        "lacks": [key for key in wanted if key not in given and key not in counters],
        "has besides": [key for key in given if key not in wanted],
        "has in other shapes": [
            f"{key} {tuple(given[key].shape)} for {tuple(value.shape)}"
            for key, value in wanted.items()
            if key in given and given[key].shape != value.shape
        ],
    }
    if any(problems.values()):
        found = "; ".join(f"it {words} {_some(keys)}" for words, keys in problems.items() if keys)
        raise EmbeddingError(f"{weights}: is no state dict of {architecture}: {found}")
    network.load_state_dict(given, strict=False)
    infinite = [k for k, v in given.items() if v.is_floating_point() and not v.isfinite().all()]
    if infinite:
        raise EmbeddingError(f"{weights}: has weights that are not finite: {_some(infinite)}")


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - NAMED:,} more" if len(keys) > NAMED else ""
    return ", ".join(f"{key:.80}" for key in keys[:NAMED]) + more


def _module(network: nn.Module, architecture: str, layer: str | None) -> nn.Module | None:
    if layer is None:
        return None
    modules: dict[str, nn.Module] = dict(network.named_modules())
    if not layer or layer not in modules:
        near = difflib.get_close_matches(layer, modules, n=3) or list(network._modules)
        raise EmbeddingError(
            f"{architecture} has no layer {layer!r} (there are {', '.join(near[:12])})"
        )
    return modules[layer]


def _keeping(found: list[Tensor], layer: str | None) -> Any:
    def keep(_module: nn.Module, _given: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            raise EmbeddingError(f"layer {layer!r} gives a {type(output).__name__}, no tensor")
        found.append(output)

    return keep
