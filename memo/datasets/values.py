"""The values of images whose density is measured."""

import numpy as np
from numpy.typing import NDArray

from memo.datasets.prepared import Prepared, named_observations
from memo.datasets.rows import Logits, Rows, Shares
from memo.datasets.sources.image_files import Images
from memo.spec.dataset_specs import ImagesSpec


def prepare_images(images: Images, spec: ImagesSpec) -> Prepared:
    """Pad images and draw the values that are scored, as the spec says."""
    levels = _padded(images.levels, spec.pad)
    shares = Shares(levels, spec.depth)
    scored: Rows = levels
    log_jacobian = None
    if spec.values == "continuous":
        scored = Logits(levels, spec.depth, spec.logit_lambda, spec.seed)
        log_jacobian = scored.log_jacobian()
    elif spec.values != "levels":
        scored = binarize(shares, spec.seed)
    return Prepared(
        scored=scored,
        observations=named_observations(images.ids, images.labels, images.groups),
        drawn_anew=spec.drawn == "each-step",
        given=shares if spec.values == "binary" else None,
        log_jacobian=log_jacobian,
        white=spec.depth - 1 if spec.values == "levels" else 1,
        flips=spec.flips,
        facts=images.facts,
    )


def _padded(levels: NDArray[np.uint8], pad: int) -> NDArray[np.uint8]:
    """Add black pixels around images (n, channels, height, width); without any, make no copy."""
    return np.pad(levels, ((0, 0), (0, 0), (pad, pad), (pad, pad))) if pad else levels


def binarize(intensities: Rows, seed: int) -> NDArray[np.uint8]:
    """Draw each pixel as Bernoulli(intensity), once (Salakhutdinov & Murray 2008).

    Observations are drawn one after another from one stream.

    Args:
        intensities: (n, *shape) in [0, 1].
        seed: Seed of the draw.
    """
    stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    drawn = np.empty(intensities.shape, np.uint8)
    for i, row in enumerate(drawn):
        row[...] = stream.random(row.shape, np.float32) < intensities[i]
    return drawn
