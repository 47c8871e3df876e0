"""Observations and samples as pictures for people."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memo.datasets.prepared import Prepared
from memo.datasets.rows import Index, Logits

LEVELS = 256
"""Grey levels of a picture."""


@dataclass(frozen=True)
class Pictures:
    """Observations as images: grey (n, H, W) or colour (n, H, W, 3)."""

    given: NDArray[np.uint8]
    """As they were given, before any noise."""
    scored: NDArray[np.uint8] | None = None
    """As they were scored, with the noise that was drawn for each; None where that looks the same.

    Binary pixels are black or white, those of few levels lie within theirs. Noise within one of 256
    levels is finer than a picture's.
    """


def pictures(prepared: Prepared) -> Pictures | None:
    """Observations as they were given, and as they were scored; None where they are not images."""
    if not _is_images(prepared):
        return None
    given, scored = _images(observed_pixels(prepared)), _with_noise(prepared)
    if prepared.given is not None:
        given, scored = _images(prepared.given[:]), given
    alike = scored is None or np.array_equal(given, scored)
    return Pictures(given, None if alike else scored)


def sampled_pictures(prepared: Prepared, values: NDArray[Any]) -> NDArray[np.uint8] | None:
    """Samples (m, *shape) in the space of `scored` as images; None where they are not images."""
    return _images(sampled_pixels(prepared, values)) if _is_images(prepared) else None


def observed_pixels(prepared: Prepared, rows: Index = slice(None)) -> NDArray[np.float32]:
    """Rows as pixels in [0, 1], (n, *shape); other data as they are.

    Binary pixels are as they were drawn, continuous ones have the level that they came from.
    """
    scored = prepared.scored
    if isinstance(scored, Logits):
        return _shares(scored.levels[rows], scored.depth - 1)
    return _shares(scored[rows], prepared.white)


def sampled_pixels(prepared: Prepared, values: NDArray[Any]) -> NDArray[np.float32]:
    """Samples (m, *shape) as pixels in [0, 1]; a continuous pixel has the level that it lies in."""
    scored = prepared.scored
    if isinstance(scored, Logits):
        return _shares(scored.nearest_levels(values), scored.depth - 1)
    return _shares(values, prepared.white)


def _with_noise(prepared: Prepared) -> NDArray[np.uint8] | None:
    """Continuous pixels with their noise; None where a picture cannot show it."""
    scored = prepared.scored
    if not isinstance(scored, Logits) or scored.depth >= LEVELS:
        return None
    levels = np.floor(scored.dequantized(slice(None)) * (LEVELS / scored.depth))
    return _images(_shares(levels.clip(0, LEVELS - 1), LEVELS - 1))


def _shares(values: NDArray[Any], white: int) -> NDArray[np.float32]:
    return values.astype(np.float32) / np.float32(white)


def _is_images(prepared: Prepared) -> bool:
    return len(prepared.shape) == 3 and prepared.shape[0] in (1, 3)


def _images(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    images: NDArray[np.uint8] = np.rint(np.moveaxis(pixels, 1, -1) * 255).astype(np.uint8)
    return images[..., 0] if images.shape[-1] == 1 else images
