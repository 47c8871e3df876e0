"""From a source's intensities to the values whose density is measured."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["binarize"]


def binarize(intensities: NDArray[np.float32], seed: int) -> NDArray[np.uint8]:
    """Draw each pixel as Bernoulli(intensity), once (Salakhutdinov & Murray 2008).

    Observations are drawn one after another from one stream, so that the first n of a data set
    have the same values under every `limit`.

    Args:
        intensities: (n, *shape) in [0, 1].
        seed: Seed of the draw.
    """
    stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    drawn = np.empty(intensities.shape, np.uint8)
    for row, probabilities in zip(drawn, intensities, strict=True):
        row[...] = stream.random(probabilities.shape, np.float32) < probabilities
    return drawn
