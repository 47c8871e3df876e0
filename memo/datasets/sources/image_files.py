"""Images as a source has them: integer levels, ids, labels."""

import os
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from memo.datasets.prepared import DataError
from memo.spec.dataset_specs import ImagesSpec

BATCH = 512
LISTED = 10


@dataclass(frozen=True)
class Images:
    """n images of a source."""

    levels: NDArray[np.uint8]
    """(n, channels, height, width)."""
    ids: Sequence[str]
    labels: Sequence[str | None]
    facts: dict[str, Any]
    """Facts for readers, as in `Prepared`."""


@dataclass
class ImageFiles:
    """Image files that were read, and those that could not be."""

    levels: NDArray[np.uint8]
    """(n, channels, height, width) of the files that were read."""
    kept: list[str] = field(default_factory=list)
    """Names of the files that were read."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Reasons why the other files could not be read, by name."""


def reshape_arrays(levels: NDArray[np.uint8], spec: ImagesSpec) -> NDArray[np.uint8]:
    """Crop and resize images in memory, (n, channels, height, width), as the spec says.

    Raises:
        DataError: The crop is larger than the images.
    """
    levels = levels[: spec.limit]
    if spec.crop is None and spec.size is None:
        return levels
    try:
        return np.stack(
            [_pixels(_reshaped(Image.fromarray(_picture(image)), spec)) for image in levels]
        )
    except ValueError as error:
        raise DataError(f"{spec.kind}: {error}") from None


def read_files(
    files: Sequence[tuple[str, Path]], spec: ImagesSpec, channels: int, *, skip: bool
) -> ImageFiles:
    """Read image files in the order given, up to the spec's limit, on all cores.

    Args:
        files: Name and path of each.
        spec: Shape and limit.
        channels: 1 for grey, 3 for red, green, blue; transparency is dropped.
        skip: Leave out files that cannot be read, instead of refusing all.

    Raises:
        DataError: A file cannot be read (after all were tried), or images differ in size.
    """
    wanted = len(files) if spec.limit is None else min(spec.limit, len(files))
    read = ImageFiles(np.empty((0, channels, 0, 0), np.uint8))
    for name, result in _decoded(files, spec, channels):
        if isinstance(result, str):
            read.unreadable[name] = result
            continue
        if not read.kept:
            read.levels = np.empty((wanted, *result.shape), np.uint8)
        if result.shape != read.levels.shape[1:]:
            raise DataError(
                f"{name}: is {_size(result)}, but {read.kept[0]} is {_size(read.levels[0])}; "
                "give a `size` or `crop` that makes them alike"
            )
        read.levels[len(read.kept)] = result
        read.kept.append(name)
        if len(read.kept) == wanted:
            break
    if read.unreadable and not skip:
        raise DataError(_complaint(read.unreadable))
    read.levels = read.levels[: len(read.kept)]
    return read


def _decoded(
    files: Sequence[tuple[str, Path]], spec: ImagesSpec, channels: int
) -> Iterator[tuple[str, NDArray[np.uint8] | str]]:
    decode = partial(_decode, spec=spec, channels=channels)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            results = pool.map(decode, [path for _, path in batch])
            yield from zip([name for name, _ in batch], results, strict=True)


def _decode(path: Path, spec: ImagesSpec, channels: int) -> NDArray[np.uint8] | str:
    """Levels (channels, height, width), or a message that says what is wrong with the file."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                return f"has pixels of mode {image.mode}, not of 8 bits"
            return _pixels(_reshaped(image.convert("L" if channels == 1 else "RGB"), spec))
    except BROKEN as error:
        return f"{type(error).__name__}: {error}".replace(str(path), path.name)


BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""Exceptions that Pillow raises at damaged files."""


def _reshaped(image: Image.Image, spec: ImagesSpec) -> Image.Image:
    if spec.crop is not None:
        if spec.crop > min(image.size):
            raise ValueError(f"crop {spec.crop} is larger than {image.height} x {image.width}")
        image = _central_square(image, spec.crop)
    if spec.size is not None:
        square = _central_square(image, min(image.size))
        image = square.resize((spec.size, spec.size), Image.Resampling.BILINEAR)
    return image


def _central_square(image: Image.Image, side: int) -> Image.Image:
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """(channels, height, width)."""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _picture(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(height, width) or (height, width, 3), as Pillow wants it."""
    return levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0)


def _size(levels: NDArray[np.uint8]) -> str:
    return f"{levels.shape[1]} x {levels.shape[2]}"


def _complaint(unreadable: dict[str, str]) -> str:
    lines = [f"  {name}: {reason}" for name, reason in list(unreadable.items())[:LISTED]]
    if len(unreadable) > LISTED:
        lines.append(f"  and {len(unreadable) - LISTED} more")
    return "\n".join([f"{len(unreadable)} images cannot be read:", *lines])
