"""A folder or tree of image files."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from memo.datasets.draws import drawn_groups, limit_notes
from memo.datasets.prepared import DataError
from memo.datasets.sources.image_decoding import (
    RefusedError,
    bombs_refused,
    is_grey,
    opened,
    require_cropped,
    upright_size,
)
from memo.datasets.sources.image_files import Images, complaint, read_files
from memo.datasets.sources.image_groups import image_groups
from memo.datasets.sources.image_tree import image_tree
from memo.spec.dataset_specs import ImageFolderSpec


def read_image_folder(spec: ImageFolderSpec) -> Images:
    """Images in the order of their paths; ids are paths below the folder, labels folder names.

    Symbolic links are followed, and hidden files left out. The rules by which files become levels
    are those of `image_decoding`.

    Raises:
        DataError: The folder is missing or has no images, images differ in size, or one cannot be
            read and the spec does not say to skip it; or as of `image_groups`.
    """
    root = Path(spec.path)
    tree = image_tree(root)
    groups = image_groups(spec, tree)
    notes: list[str] = []
    if groups is not None:
        drawn = drawn_groups(groups, spec.limit, spec.seed).tolist()
        notes = limit_notes(drawn, [_label(name) for name, _ in tree.images], spec.seed, groups)
        tree.images = [tree.images[place] for place in drawn]
        groups = [groups[place] for place in drawn]
        spec = spec.model_copy(update={"limit": None})
    names = [name for name, _ in tree.images]
    labels = [_label(name) for name in names]
    skip = spec.unreadable == "skip"
    try:
        read = read_files(
            tree.images, labels, spec, spec.channels, skip=skip, background=spec.background
        )
    except DataError as error:
        raise DataError(f"{root}: {error}") from None
    facts = read.facts(labels, spec, spec.background)
    folders = len({labels[position] for position in read.kept} - {None})
    summary = f"read: {len(read.kept):,} of {len(names):,} image files, with {folders:,} labels"
    return Images(
        levels=read.levels,
        ids=[names[position] for position in read.kept],
        labels=[labels[position] for position in read.kept],
        facts={
            "source": f"image files below {spec.path}",
            **facts,
            "other_files": tree.others.total(),
            "hidden_files": tree.hidden,
            "notes": [summary, *notes, *facts["notes"], *tree.notes()],
        },
        groups=None if groups is None else [groups[position] for position in read.kept],
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
    """Heights and widths, upright."""
    channels: int
    """1 where all images are grey, else 3."""
    two_tone: bool
    """True where images are grey, with most pixels nearly black or white."""
    looked_at: int
    """Number of images that were opened."""
    notes: list[str] = field(default_factory=list)
    """Links, and files that are no images."""
    refused: dict[str, str] = field(default_factory=dict)
    """Reasons why some of those looked at cannot be read, by name."""


def survey_image_folder(root: Path) -> FolderSurvey:
    """Look at some images of a folder, evenly spread over its list of files.

    Raises:
        DataError: The folder is missing, or has no images that can be read.
    """
    tree = image_tree(root)
    chosen = np.linspace(0, len(tree.images) - 1, min(len(tree.images), SURVEYED)).astype(int)
    sizes, grey, extreme = set(), [], []
    refused: dict[str, str] = {}
    with bombs_refused():
        for name, path in (tree.images[place] for place in chosen):
            try:
                with opened(path) as image:
                    levels = np.asarray(image.convert("RGBA").convert("L"))
                    sizes.add(upright_size(image))
                    grey.append(is_grey(image))
            except RefusedError as problem:
                refused[name] = str(problem)
                continue
            extreme.append(float(((levels <= DARK) | (levels >= BRIGHT)).mean()))
    if not sizes:
        name, reason = next(iter(refused.items()))
        raise DataError(
            f"{root}: none of {len(chosen)} images can be read; the first, {name}, {reason}"
        )
    two_tone = all(grey) and float(np.mean(extreme)) >= TWO_TONE
    channels = 1 if all(grey) else 3
    return FolderSurvey(
        len(tree.images), sizes, channels, two_tone, len(chosen), tree.notes(), refused
    )


LOOKED_AT = 5000
"""Most images whose headers are read to see what `read_image_folder` would refuse."""


def look_at_image_folder(spec: ImageFolderSpec) -> None:
    """See from the headers of its images that a folder can be read; of many, those of some.

    Raises:
        DataError: The folder is missing or has no images, or images that are refused; or as of
            `image_groups`.
    """
    root = Path(spec.path)
    tree = image_tree(root)
    image_groups(spec, tree)
    images = tree.images
    sizes: dict[tuple[int, ...], str] = {}
    refused: dict[str, str] = {}
    with bombs_refused():
        for name, path in images[:: -(-len(images) // LOOKED_AT)]:
            try:
                with opened(path) as image:
                    require_cropped(image, spec)
                    # by the sides alone: which is the height, EXIF says, perhaps after the pixels
                    sizes.setdefault(tuple(sorted(image.size)), name)
            except RefusedError as problem:
                refused[name] = str(problem)
    if refused and spec.unreadable == "error":
        raise DataError(f"{root}: {complaint(refused)}")
    if len(sizes) > 1 and spec.size is None and spec.crop is None:
        (first, name), (second, other) = list(sizes.items())[:2]
        raise DataError(
            f"{root}: {other} is of {second[0]} x {second[1]} pixels, but {name} of {first[0]} x "
            f"{first[1]}; give a `size` or `crop` that makes them alike"
        )


def _label(name: str) -> str | None:
    return name.split("/")[-2] if "/" in name else None
