"""A folder or tree of image files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from memo.datasets.prepared import DataError
from memo.datasets.sources.image_files import BROKEN, Images, read_files
from memo.spec.dataset_specs import ImageFolderSpec

SUFFIXES = frozenset(
    [".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"]
)


def read_image_folder(spec: ImageFolderSpec) -> Images:
    """Images in the order of their paths; ids are paths below the folder, labels folder names.

    Raises:
        DataError: The folder is missing or has no images, images differ in size, or one cannot be
            read and the spec does not say to skip it.
    """
    root = Path(spec.path)
    images, others = _files(root)
    try:
        read = read_files(images, spec, spec.channels, skip=spec.unreadable == "skip")
    except DataError as error:
        raise DataError(f"{root}: {error}") from None
    return Images(
        levels=read.levels,
        ids=read.kept,
        labels=[_label(name) for name in read.kept],
        facts={
            "source": f"image files below {spec.path}",
            "unreadable": read.unreadable,
            "other_files": others,
        },
    )


SURVEYED = 256
"""Most images that are opened for a look at a folder."""

DARK, BRIGHT = 16, 239
"""Grey levels up to which a pixel is nearly black, and from which on it is nearly white."""

TWO_TONE = 0.75
"""Fraction of such pixels from which on images are drawings rather than photographs."""


@dataclass(frozen=True)
class FolderSurvey:
    """Properties of a folder of images, from a look at some of them."""

    count: int
    """Number of all image files."""
    sizes: set[tuple[int, int]]
    """Heights and widths."""
    channels: int
    """1 where all images are grey, else 3."""
    two_tone: bool
    """True where images are grey, with most pixels nearly black or white."""


def survey_image_folder(root: Path) -> FolderSurvey:
    """Look at some images of a folder, evenly spread over its list of files.

    Raises:
        DataError: The folder is missing, or has no images that can be read.
    """
    images, _ = _files(root)
    chosen = np.linspace(0, len(images) - 1, min(len(images), SURVEYED)).astype(int)
    sizes, grey, extreme = set(), [], []
    for place in chosen:
        try:
            with Image.open(images[place][1]) as image:
                sizes.add((image.height, image.width))
                grey.append(image.mode in ("1", "L", "LA"))
                levels = np.asarray(image.convert("L"))
        except BROKEN:
            continue
        extreme.append(float(((levels <= DARK) | (levels >= BRIGHT)).mean()))
    if not sizes:
        raise DataError(f"{root}: none of {len(chosen)} images can be read")
    two_tone = all(grey) and float(np.mean(extreme)) >= TWO_TONE
    return FolderSurvey(len(images), sizes, 1 if all(grey) else 3, two_tone)


def _files(root: Path) -> tuple[list[tuple[str, Path]], int]:
    """Name and path of each image, in the order of names, and the number of other files.

    Raises:
        DataError: There is no such folder, or no image in it.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    files = sorted((_name(path, root), path) for path in root.rglob("*") if path.is_file())
    visible = [(name, path) for name, path in files if "/." not in f"/{name}"]
    images = [(name, path) for name, path in visible if path.suffix.lower() in SUFFIXES]
    if not images:
        raise DataError(f"{root}: has no images ({', '.join(sorted(SUFFIXES))})")
    return images, len(visible) - len(images)


def _name(path: Path, root: Path) -> str:
    """The path below the root, with bytes that are not UTF-8 spelt out."""
    relative = path.relative_to(root).as_posix()
    return relative.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _label(name: str) -> str | None:
    return name.split("/")[-2] if "/" in name else None
