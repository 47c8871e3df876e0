"""Observations as small pictures inside the page."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from memo.datasets.pictures import Pictures

LARGEST_SIDE = 64
LARGEST_LOSSLESS = 32 * 32 * 3


@dataclass(frozen=True)
class Thumbnail:
    """An observation as a data URI."""

    given: str
    """As it was given."""
    scored: str | None
    """As it was scored; None where that looks the same."""


def thumbnail(images: Pictures, index: int) -> Thumbnail:
    """Encode an observation as it was given, and as it was scored."""
    scored = None if images.scored is None else data_uri(images.scored[index])
    return Thumbnail(data_uri(images.given[index]), scored)


def data_uri(image: NDArray[np.uint8]) -> str:
    """Encode an image, (H, W) or (H, W, channels), shrunk to 64 pixels a side where it is larger.

    As PNG, which is exact; as WebP where images are so large that hundreds of PNGs would weigh on
    the page.
    """
    picture = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    values = picture.width * picture.height * len(picture.getbands())
    return _encoded(picture, "PNG" if values <= LARGEST_LOSSLESS else "WEBP")


def shading(strength: NDArray[np.float64], colour: str) -> str:
    """Encode one colour, opaque where `strength` (height, width) is 1 and clear where it is 0."""
    pixels = np.empty((*strength.shape, 4), np.uint8)
    pixels[..., :3] = list(bytes.fromhex(colour.removeprefix("#")))
    pixels[..., 3] = np.round(255 * strength)
    return _encoded(Image.fromarray(pixels), "PNG")


def is_tiny(images: Pictures) -> bool:
    """Tell whether enlarging should show the pixels instead of blurring them."""
    return bool(max(images.given.shape[1:3]) <= LARGEST_SIDE)


def _encoded(picture: Image.Image, form: str) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, form, optimize=True, quality=85)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
