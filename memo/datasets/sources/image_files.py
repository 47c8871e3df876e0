"""Images as a source has them: integer levels, ids, labels."""

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from memo.datasets.draws import drawn_order, limit_notes
from memo.datasets.prepared import DataError
from memo.datasets.sources.image_decoding import (
    RULES,
    Decoded,
    RefusedError,
    TooLargeError,
    as_levels,
    as_picture,
    bombs_refused,
    decode,
    reshaped,
)
from memo.spec.dataset_specs import ImagesSpec

BATCH = 64
LISTED = 10

MOST_OF_MEMORY = 0.5
"""Largest share of the machine's memory that the levels of all images may take."""


@dataclass(frozen=True)
class Images:
    """n images of a source."""

    levels: NDArray[np.uint8]
    """(n, channels, height, width)."""
    ids: Sequence[str]
    labels: Sequence[str | None]
    facts: dict[str, Any]
    """Facts for readers, as in `Prepared`."""
    groups: Sequence[str] | None = None
    """Group of each, whose images are held out together; None where there are none."""


@dataclass
class ImageFiles:
    """Image files that were read, and those that could not be."""

    levels: NDArray[np.uint8]
    """(n, channels, height, width) of the files that were read."""
    kept: list[int] = field(default_factory=list)
    """Positions of the files that were read, ascending."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Reasons why other files could not be read, by name."""
    rules: dict[str, int] = field(default_factory=dict)
    """Numbers of the files to which rules were applied, by keys of `RULES`."""

    def facts(
        self, labels: Sequence[str | None], spec: ImagesSpec, background: str = "white"
    ) -> dict[str, Any]:
        """Facts for readers: what a limit drew, what was skipped, and what was changed.

        Args:
            labels: Of all files.
            spec: Limit and seed.
            background: Colour on which transparent pictures were laid.
        """
        notes: list[str] = []
        if spec.limit is not None and spec.limit < len(labels):
            notes += limit_notes(self.kept, labels, spec.seed)
        if self.unreadable:
            name, reason = next(iter(self.unreadable.items()))
            more = ", ..." * (len(self.unreadable) > 1)
            notes.append(f"skipped as unreadable: {len(self.unreadable):,} ({name} {reason}{more})")
        notes += [
            f"images {words.format(background=background)}: {self.rules[rule]:,}"
            for rule, words in RULES.items()
            if rule in self.rules
        ]
        return {"unreadable": self.unreadable, "rules": self.rules, "notes": notes}


def reshape_arrays(levels: NDArray[np.uint8], spec: ImagesSpec) -> NDArray[np.uint8]:
    """Crop and resize images in memory, (n, channels, height, width), as the spec says.

    Raises:
        DataError: The crop is larger than the images.
    """
    if spec.crop is None and spec.size is None:
        return levels
    try:
        return np.stack([as_levels(reshaped(as_picture(image), spec)) for image in levels])
    except ValueError as error:
        raise DataError(f"{spec.kind}: {error}") from None


def read_files(
    files: Sequence[tuple[str, Path]],
    labels: Sequence[str | None],
    spec: ImagesSpec,
    channels: int,
    *,
    skip: bool,
    background: str = "white",
) -> ImageFiles:
    """Read image files on all cores: all, or as many as the spec's limit, drawn at random.

    Args:
        files: Name and path of each.
        labels: Label of each.
        spec: Shape, limit and seed.
        channels: 1 for grey, 3 for red, green, blue.
        skip: Leave out files that cannot be read, instead of refusing all; where there is a limit,
            others are drawn for them.
        background: Colour on which transparent pictures are laid.

    Raises:
        DataError: A file cannot be read (after all were tried), images differ in size, or are too
            many for the memory of this machine.
    """
    limited = spec.limit is not None and spec.limit < len(files)
    order = drawn_order(labels, spec.seed) if limited else np.arange(len(files))
    wanted = spec.limit if limited and spec.limit is not None else len(files)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    most = int(MOST_OF_MEMORY * memory) // wanted
    decoder = partial(_tried, spec=spec, channels=channels, background=background, most=most)
    read = ImageFiles(np.empty((0, channels, 0, 0), np.uint8))
    paths = [files[position][1] for position in order]
    with bombs_refused(), closing(_decoded(paths, decoder)) as decoded:
        for position, result in zip(order.tolist(), decoded, strict=False):
            name = files[position][0]
            if isinstance(result, TooLargeError):
                raise DataError(
                    f"{name}: is {result}; {wanted:,} such images do not fit into half of this "
                    f"machine's memory of {memory / 1e9:,.1f} GB; give a smaller `size`, or a "
                    "`limit`"
                )
            if isinstance(result, RefusedError):
                read.unreadable[name] = str(result)
                continue
            levels = result.levels
            if not read.kept:
                read.levels = np.empty((wanted, *levels.shape), np.uint8)
            if levels.shape != read.levels.shape[1:]:
                raise DataError(
                    f"{name}: is {_size(levels)}, but {files[read.kept[0]][0]} is "
                    f"{_size(read.levels[0])}; give a `size` or `crop` that makes them alike"
                )
            read.levels[len(read.kept)] = levels
            read.kept.append(position)
            for rule in result.rules:
                read.rules[rule] = read.rules.get(rule, 0) + 1
            if len(read.kept) == wanted:
                break
    if read.unreadable and not skip:
        raise DataError(complaint(read.unreadable))
    _put_in_order(read)
    return read


_Result: TypeAlias = Decoded | RefusedError | TooLargeError


def _decoded(paths: Sequence[Path], decoder: Callable[[Path], _Result]) -> Generator[_Result]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), BATCH):
            yield from pool.map(decoder, paths[start : start + BATCH])


def _tried(path: Path, spec: ImagesSpec, channels: int, background: str, most: int) -> _Result:
    try:
        return decode(path, spec, channels, background, most)
    except (RefusedError, TooLargeError) as problem:
        return problem


def _put_in_order(read: ImageFiles) -> None:
    """Put what was drawn in the order of the files, and give back room for what was not read."""
    order = np.argsort(read.kept)
    kept = read.levels[: len(order)]
    read.levels = kept if (order[:-1] < order[1:]).all() else kept[order]
    read.kept = sorted(read.kept)


def _size(levels: NDArray[np.uint8]) -> str:
    return f"{levels.shape[1]} x {levels.shape[2]}"


def complaint(unreadable: dict[str, str]) -> str:
    """Say which images cannot be read and why, and how to go on without them."""
    lines = [f"  {name} {reason}" for name, reason in list(unreadable.items())[:LISTED]]
    if len(unreadable) > LISTED:
        lines.append(f"  and {len(unreadable) - LISTED} more")
    return "\n".join(
        [
            f"{len(unreadable):,} image{'s' * (len(unreadable) > 1)} cannot be read; "
            "`unreadable: skip` leaves such images out:",
            *lines,
        ]
    )
