"""log p(x, z) of many latent draws, in pieces that fit a cache."""

import math
from collections.abc import Callable, Iterator
from functools import cache, partial

import torch
from torch import Tensor, nn

from memo.models.networks import MLPDecoder
from memo.models.protocols import LatentVariableModel
from memo.models.vae import VAE

CORE_FLOATS = 1 << 17
"""Decoder outputs held at a time on a CPU, in floats: a part of a core's own cache."""

VECTORS = 1024
"""Vectors decoded at a time on a CPU, if more: they share the reading of a decoder's weights."""

CACHE_FLOATS = 1 << 20
"""The most decoder outputs held at a time on a CPU: a part of the cores' common cache."""

ACCELERATOR_FLOATS = 1 << 26
"""Decoder outputs held at a time on a GPU, in floats."""

DRAWS = 64
"""Draws of an observation that are decoded together; a constant, so that rounding is the same."""

FEWEST_DRAWS = 16
"""Draws of an observation from which on their mean is worth a product of its own."""


def pieces(count: int, vectors: int, width: int, device: torch.device) -> Iterator[slice]:
    """Consecutive slices of `count` rows that a cache holds.

    Args:
        count: Number of all rows.
        vectors: Decoded vectors for each row.
        width: Numbers in a vector.
        device: The device whose cache it is.
    """
    budget = ACCELERATOR_FLOATS
    if device.type == "cpu":
        budget = min(max(CORE_FLOATS, VECTORS * width), CACHE_FLOATS)
    rows = max(1, budget // max(1, vectors * width))
    return (slice(start, start + rows) for start in range(0, count, rows))


def product_dtype(like: Tensor) -> torch.dtype:
    """bfloat16 in place of float32 where the device multiplies it faster, else the tensor's own.

    bfloat16 is off by a part in 256: good enough for what only shapes a proposal, and for small
    deviations from something that is computed in full.
    """
    fast = like.dtype == torch.float32 and _bfloat16_is_fast(like.device.type)
    return torch.bfloat16 if fast else like.dtype


def product(values: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """values @ weight^T, computed in `dtype`."""
    return values.to(dtype) @ weight.to(dtype).T


@cache
def _bfloat16_is_fast(device: str) -> bool:
    if device == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def perceptron(model: LatentVariableModel) -> MLPDecoder | None:
    """The model's decoder, if it is one whose layers are known, and all that `decode` computes."""
    decoder = getattr(model, "decoder", None)
    decodes_by_it = getattr(model.decode, "__func__", None) is VAE.decode
    return decoder if decodes_by_it and type(decoder) is MLPDecoder else None


def log_joint(model: LatentVariableModel, x: Tensor, z: Tensor) -> Tensor:
    """log p(x | z) + log N(z; 0, I) in nats: x (n, *shape), z (S, n, d) -> (S, n)."""
    decode = _decoder_for(model, z)
    result = z.new_empty(z.shape[:2])
    for start in range(0, len(z), DRAWS):
        draws = slice(start, start + DRAWS)
        for rows in pieces(len(x), len(z[draws]), x[0].numel(), x.device):
            result[draws, rows] = model.observation.log_prob(x[rows], decode(z[draws, rows]))
    return result - 0.5 * z.square().sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)


def log_joint_gradient(model: LatentVariableModel, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """log p(x, z) and its gradient in z: x (n, *shape), z (S, n, d) -> (S, n), (S, n, d)."""
    values: list[Tensor] = []
    gradients: list[Tensor] = []
    with torch.enable_grad():
        for rows in pieces(len(x), len(z), x[0].numel(), x.device):
            at = z[:, rows].detach().requires_grad_()
            value = log_joint(model, x[rows], at)
            gradients += torch.autograd.grad(value.sum(), at)
            values.append(value.detach())
    return torch.cat(values, 1), torch.cat(gradients, 1)


def _decoder_for(model: LatentVariableModel, z: Tensor) -> Callable[[Tensor], Tensor]:
    """The model's `decode`, or `_decode_about_mean` where that is faster."""
    decoder, few = perceptron(model), len(z) < FEWEST_DRAWS
    if decoder is None or few or torch.is_grad_enabled() or product_dtype(z) == z.dtype:
        return model.decode
    return partial(_decode_about_mean, decoder)


def _decode_about_mean(decoder: MLPDecoder, z: Tensor) -> Tensor:
    """The decoder with all products but the first in `product_dtype`: (S, n, d) -> (S, n, ...).

    With c the mean of h over an observation's draws, W h = W c + W (h - c): only the second product
    is rounded, and it is small.
    """
    first, *others = decoder.layers
    values: Tensor = first(z)
    for layer in others:
        if isinstance(layer, nn.Linear):
            mean = values.mean(0)
            rounded = product(values - mean, layer.weight, product_dtype(z))
            values = layer(mean) + rounded.to(values.dtype)
        else:
            values = layer(values)
    return values.unflatten(-1, decoder.shape)  # type: ignore[no-any-return,no-untyped-call]
