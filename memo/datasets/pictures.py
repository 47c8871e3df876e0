"""Observations and samples as pictures for people."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from memo.datasets.prepared import Prepared
from memo.datasets.rows import Index, Logits


def pictures(prepared: Prepared, rows: Index = slice(None)) -> NDArray[np.uint8] | None:
    """Rows as grey (n, H, W) or colour (n, H, W, 3) images; None where they are not images.

    Binary pixels are shown as they were drawn, continuous ones by the level that they came from.
    """
    return _images(observed_pixels(prepared, rows)) if _is_images(prepared) else None


def sampled_pictures(prepared: Prepared, values: NDArray[Any]) -> NDArray[np.uint8] | None:
    """Samples (m, *shape) in the space of `scored` as images; None where they are not images."""
    return _images(sampled_pixels(prepared, values)) if _is_images(prepared) else None


def observed_pixels(prepared: Prepared, rows: Index = slice(None)) -> NDArray[np.float32]:
    """Rows as pixels in [0, 1], (n, *shape), as `pictures` shows them; other data as they are."""
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


def _shares(values: NDArray[Any], white: int) -> NDArray[np.float32]:
    return values.astype(np.float32) / np.float32(white)


def _is_images(prepared: Prepared) -> bool:
    return len(prepared.shape) == 3 and prepared.shape[0] in (1, 3)


def _images(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    images: NDArray[np.uint8] = np.rint(np.moveaxis(pixels, 1, -1) * 255).astype(np.uint8)
    return images[..., 0] if images.shape[-1] == 1 else images
