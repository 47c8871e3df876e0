"""Observations as people see them."""

import numpy as np
from numpy.typing import NDArray

from memo.datasets.prepared import Prepared
from memo.datasets.rows import Index, Logits

__all__ = ["pictures"]


def pictures(prepared: Prepared, rows: Index = slice(None)) -> NDArray[np.uint8] | None:
    """Rows as grey (n, H, W) or colour (n, H, W, 3) images; None where they are not images.

    Binary pixels are shown as they were drawn, continuous ones by the level they came from.
    """
    scored = prepared.scored
    if len(prepared.shape) != 3 or prepared.shape[0] not in (1, 3):
        return None
    values, white = (
        (scored.levels[rows], scored.depth - 1)
        if isinstance(scored, Logits)
        else (scored[rows], prepared.white)
    )
    shown = np.moveaxis(np.asarray(values), 1, -1).astype(np.float32) * (255 / white)
    images: NDArray[np.uint8] = np.rint(shown).astype(np.uint8)
    return images[..., 0] if images.shape[-1] == 1 else images
