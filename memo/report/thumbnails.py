"""Observations as small pictures inside the page."""

import base64
import io
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["data_uri", "is_tiny", "shading", "thumbnails"]

LARGEST_SIDE = 64
LARGEST_LOSSLESS = 32 * 32 * 3


def thumbnails(images: NDArray[np.uint8], indices: Iterable[int]) -> dict[int, str]:
    """A data URI for each of these observations."""
    return {index: data_uri(images[index]) for index in indices}


def data_uri(image: NDArray[np.uint8]) -> str:
    """An image, (H, W) or (H, W, channels), as it is up to 64 pixels a side, smaller beyond.

    PNG, which is exact; WebP for images so large that hundreds of PNGs would weigh on the page.
    """
    picture = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    values = picture.width * picture.height * len(picture.getbands())
    form = "PNG" if values <= LARGEST_LOSSLESS else "WEBP"
    return _encoded(picture, form)


def shading(strength: NDArray[np.float64], colour: str) -> str:
    """One colour, opaque where `strength` (height, width) is 1 and clear where it is 0, as PNG."""
    pixels = np.empty((*strength.shape, 4), np.uint8)
    pixels[..., :3] = list(bytes.fromhex(colour.removeprefix("#")))
    pixels[..., 3] = np.round(255 * strength)
    return _encoded(Image.fromarray(pixels), "PNG")


def _encoded(picture: Image.Image, form: str) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, form, optimize=True, quality=85)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def is_tiny(images: NDArray[np.uint8]) -> bool:
    """Whether enlarging should show the pixels instead of blurring them."""
    return bool(max(images.shape[1:3]) <= LARGEST_SIDE)
