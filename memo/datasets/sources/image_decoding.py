"""One image file: which are read, and the rules by which its pixels become levels.

Formats are told by their first bytes, and only those of `FORMATS` are opened. Files with several
pictures (animations, pages), with more than 8 bits a channel, and in CMYK or other colour spaces
than grey and RGB are refused. What else a file may have, `RULES` says.
"""

import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from memo.spec.dataset_specs import ImagesSpec

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are opened, as Pillow names them; never those that other programs decode."""

RULES = {
    "turned": "turned upright, as EXIF says",
    "flattened": "transparent, laid on {background}",
    "first": "in MPO files of several pictures, of which the first is read",
    "profile": "with a colour profile that is not applied",
    "coloured": "grey, in a data set of colours",
    "greyed": "coloured, turned to grey",
    "reduced": "in large JPEG files, decoded at a reduced scale",
    "misnamed": "of another format than the name says",
}
"""Changes made to an image, in words for several of them."""

MODES = frozenset(["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"])
"""Pillow's names for pixels that can be read: grey, RGB and palettes of 8 bits or less."""

BITS = 8
OPAQUE = 255
QUARTER_TURN = 5
"""EXIF orientation from which on height and width change places."""
BITS_PER_SAMPLE = 258
"""TIFF's tag."""

BAND = 256
"""Lines of a picture that are laid on a background at a time."""

LARGE = 2**22
"""Pixels from which on a JPEG may be decoded at a reduced scale."""

IN_FLIGHT = 2**26
"""Most pixels that are decoded at a time; a larger image is decoded alone."""

DRAFT = 4
"""Factor by which a JPEG that is decoded at a reduced scale stays larger than `size` at least."""

BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""Exceptions that Pillow raises at damaged files, as found by damaging some, and at those that are
too large."""

SUFFIXES = {
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".mpo": "MPO",
    ".pbm": "PPM",
    ".pgm": "PPM",
    ".png": "PNG",
    ".pnm": "PPM",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
"""Format that each suffix of an image file stands for."""


class Decoded(NamedTuple):
    """An image, and the rules that were applied to it."""

    levels: NDArray[np.uint8]
    """(channels, height, width)."""
    rules: list[str]
    """Keys of `RULES`."""


class RefusedError(Exception):
    """A file that is no image, or one that no rule reads; the message says why."""


class TooLargeError(Exception):
    """An image with more levels than there is room for; the message says its size."""


class _Budget:
    """Pixels that are decoded at a time in several threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        self._freed = threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Wait until there is room, or nothing else is decoded."""
        with self._freed:
            self._freed.wait_for(lambda: not self._used or self._used + pixels <= self._most)
            self._used += pixels
        try:
            yield
        finally:
            with self._freed:
                self._used -= pixels
                self._freed.notify_all()


_budget = _Budget(IN_FLIGHT)


@contextmanager
def bombs_refused() -> Iterator[None]:
    """Have images of more than Pillow's `Image.MAX_IMAGE_PIXELS` refused before they are decoded.

    Pillow's warnings about metadata that it passes over, thousands of them in some folders, are not
    shown. Filters of warnings are those of the whole process: this is for the thread that starts
    others.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file; only its header is read until pixels are asked for.

    Raises:
        RefusedError: It is no image that can be read.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            reason = _reason(image)
            if reason is not None:
                raise RefusedError(reason)
            yield image
    except UnidentifiedImageError:
        formats = ", ".join(FORMATS)
        raise RefusedError(f"is no image by its first bytes (of {formats})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        most = Image.MAX_IMAGE_PIXELS or 0
        raise RefusedError(f"has more than {most:,} pixels; make it smaller") from None
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno:
            raise RefusedError(f"cannot be opened ({error.strerror})") from None
        reason = f"{type(error).__name__}: {error}".replace(str(path), path.name)
        raise RefusedError(f"is damaged ({reason})") from None


def decode(path: Path, spec: ImagesSpec, channels: int, background: str, most: int) -> Decoded:
    """Read an image file, and shape it as the spec says.

    Args:
        path: The file.
        spec: Crop and size.
        channels: 1 for grey, 3 for red, green, blue.
        background: Colour on which a transparent picture is laid.
        most: Largest number of levels that are wanted of it.

    Raises:
        RefusedError: It is no image that can be read, or is smaller than the crop.
        TooLargeError: It has more levels once it is shaped.
    """
    with opened(path) as image:
        side = spec.size or spec.crop
        require_cropped(image, spec)
        if channels * (image.width * image.height if side is None else side**2) > most:
            raise TooLargeError(f"{image.height} x {image.width}")
        reduced = _drafted(image, spec)
        with _budget.taken(image.width * image.height):
            rules = [*_rules_of_header(image, path, channels), *["reduced"] * reduced]
            ImageOps.exif_transpose(image, in_place=True)
            flat = _flattened(image, background)
            rules += ["flattened"] * (flat is not image)
            mode = "L" if channels == 1 else "RGB"
            shaped = reshaped(flat if flat.mode == mode else flat.convert(mode), spec)
            return Decoded(as_levels(shaped), rules)


def require_cropped(image: Image.Image, spec: ImagesSpec) -> None:
    """See that an image is as large as the crop.

    Raises:
        RefusedError: It is smaller.
    """
    if spec.crop is not None and spec.crop > min(image.size):
        size = f"{image.height} x {image.width}"
        raise RefusedError(f"is too small: crop {spec.crop} is larger than {size}")


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width of a picture that is turned as its EXIF orientation says."""
    if image.format != "TIFF" and _orientation(image) >= QUARTER_TURN:
        return image.width, image.height
    return image.height, image.width  # of a TIFF, Pillow gives those after turning


def is_grey(image: Image.Image) -> bool:
    """True for a grey picture, also by the colours of its palette."""
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
        used = np.flatnonzero(image.histogram())
        colours = palette[used[used < len(palette)]]
        return bool((colours == colours[:, :1]).all())
    return image.mode in ("1", "L", "LA")


def reshaped(image: Image.Image, spec: ImagesSpec) -> Image.Image:
    """Crop and resize a picture, as the spec says.

    Raises:
        ValueError: The crop is larger than the picture.
    """
    if spec.crop is not None:
        if spec.crop > min(image.size):
            raise ValueError(f"crop {spec.crop} is larger than {image.height} x {image.width}")
        image = _central_square(image, spec.crop)
    if spec.size is not None:
        square = _central_square(image, min(image.size))
        image = square.resize((spec.size, spec.size), Image.Resampling.BILINEAR)
    return image


def as_levels(image: Image.Image) -> NDArray[np.uint8]:
    """Levels (channels, height, width) of a picture."""
    levels = np.asarray(image)
    return levels[None] if levels.ndim == 2 else levels.transpose(2, 0, 1)


def as_picture(levels: NDArray[np.uint8]) -> Image.Image:
    """A picture of levels (channels, height, width); undoes `as_levels`."""
    return Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0))


def _central_square(image: Image.Image, side: int) -> Image.Image:
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _reason(image: Image.Image) -> str | None:
    """Say why an image is not read; None where it is."""
    if image.format != "MPO" and getattr(image, "is_animated", False):
        frames = int(getattr(image, "n_frames", 2))
        return f"has {frames} pictures in one file; save those that are meant as files of their own"
    if image.mode == "CMYK":
        return "is in CMYK, whose colours depend on the printer; save it in RGB"
    if _is_deep(image):
        return f"has more than {BITS} bits a channel; save it with {BITS}"
    if image.mode not in MODES:
        return f"has pixels of mode {image.mode}; save it in grey or RGB of {BITS} bits"
    return None


def _is_deep(image: Image.Image) -> bool:
    """True where the file has more than 8 bits a channel, also where Pillow would drop some."""
    if image.mode.startswith(("I", "F")):
        return True
    if image.format == "TIFF":
        tags: Any = getattr(image, "tag_v2", {})
        return bool(np.max(tags.get(BITS_PER_SAMPLE, 1)) > BITS)
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    codings = [str(tile.args) for tile in tiles]
    if image.format == "PPM":  # the largest value stands beside the mode
        return any(int(n) >= 2**BITS for coding in codings for n in re.findall(r"\d+", coding))
    return image.format == "PNG" and any(";16" in coding for coding in codings)


def _drafted(image: Image.Image, spec: ImagesSpec) -> bool:
    """Have a large JPEG decoded at a scale that is enough for its final size."""
    if spec.size is None or spec.crop is not None or image.width * image.height < LARGE:
        return False
    size = image.size
    image.draft(None, (DRAFT * spec.size, DRAFT * spec.size))
    return image.size != size


def _orientation(image: Image.Image) -> int:
    found = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _rules_of_header(image: Image.Image, path: Path, channels: int) -> list[str]:
    colour = image.info.get("icc_profile") or b""
    named = SUFFIXES.get(path.suffix.lower())
    grey = is_grey(image)
    found = {
        "turned": _orientation(image) != 1,
        "first": image.format == "MPO" and getattr(image, "is_animated", False),
        "profile": colour and b"sRGB" not in colour and "sRGB".encode("utf-16-be") not in colour,
        "coloured": grey and channels == 3,
        "greyed": not grey and channels == 1,
        "misnamed": named not in (image.format, "MPO" if image.format == "JPEG" else None)
        and not (image.format == "MPO" and named == "JPEG"),
    }
    return [rule for rule, applies in found.items() if applies]


def _flattened(image: Image.Image, background: str) -> Image.Image:
    """Lay a picture on a background; the picture itself where all of it is opaque.

    It is done in bands, since each step takes a copy.
    """
    if not image.has_transparency_data:
        return image
    flat = Image.new("RGB", image.size)
    opaque = True
    for top in range(0, image.height, BAND):
        box = (0, top, image.width, min(top + BAND, image.height))
        band = image.crop(box).convert("RGBA")
        opaque = opaque and band.getchannel("A").getextrema()[0] == OPAQUE
        below = Image.new("RGBA", band.size, background)
        flat.paste(Image.alpha_composite(below, band).convert("RGB"), box)
    return image if opaque else flat
