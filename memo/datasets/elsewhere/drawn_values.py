"""Arrays and images that a model drew, as the values of a data set that are scored."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memo.datasets.prepared import DataError, Prepared
from memo.datasets.rows import Logits, Shares
from memo.datasets.sources.image_decoding import RefusedError, TooLargeError, bombs_refused, decode
from memo.datasets.sources.image_tree import image_tree
from memo.datasets.tabular.columns import encoded
from memo.datasets.values import binarize
from memo.spec.dataset_specs import ImageFolderSpec

BYTE = 255
"""Level of a white pixel in an image file."""

Values = NDArray[Any]


def values_of_array(array: Values, data: Prepared, what: str) -> Values:
    """Values of an array of samples, in the space of `data.scored`: (m, *shape).

    Args:
        array: (m, columns) numbers in the columns' own units, or images (m, *shape): integers are
            levels of pixels, floats their intensities from 0 (black) to 1 (white). Channels may
            come last, and grey images need none.
        data: The observations.
        what: Name of the array in messages.

    Raises:
        DataError: It has another shape, other values than pixels, or values that are not finite.
    """
    if array.dtype.kind not in "fiub":
        raise DataError(f"{what}: has values of type {array.dtype}, not numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        at = tuple(int(place) for place in np.argwhere(~np.isfinite(array))[0])
        raise DataError(f"{what}: sample {at[0]} has a value that is not finite, {array[at]}")
    if data.columns is not None:
        return _records(array, data, what)
    if len(data.shape) == 1:
        _require_shape(array.shape[1:], data.shape, what)
        return array.astype(np.float32)
    return values_of_levels(_levels(_channels_first(array, data, what), data, what), data)


def values_of_images(folder: Path, data: Prepared) -> Values:
    """Values of all images below a folder, in the order of their paths.

    Raises:
        DataError: There are none, one cannot be read, or is of another size than the observations.
    """
    if len(data.shape) != 3 or data.shape[0] not in (1, 3):
        raise DataError(f"{folder}: is a folder of images, and observations are none")
    images = image_tree(folder).images
    with bombs_refused(), ThreadPoolExecutor(os.cpu_count()) as pool:
        read = partial(_image, shape=data.shape)
        levels = np.stack(list(pool.map(read, [path for _, path in images])))
    white = _white(data)
    if white != BYTE:
        levels = np.rint(levels * (white / BYTE)).astype(np.uint8)
    return values_of_levels(levels, data)


def values_of_levels(levels: NDArray[np.uint8], data: Prepared) -> Values:
    """Pixels as the data set's own become what is scored: drawn, with noise, or as they are.

    Args:
        levels: (m, C, H, W).
        data: The observations.
    """
    scored, given = data.scored, data.given
    if isinstance(scored, Logits):
        return Logits(levels, scored.depth, scored.logit_lambda, scored.seed)[:]
    if isinstance(given, Shares):
        return binarize(Shares(levels, given.depth), int(data.facts["spec"]["seed"]))
    return levels


def _image(path: Path, shape: Sequence[int]) -> NDArray[np.uint8]:
    spec = ImageFolderSpec(kind="image-folder", path=str(path.parent))
    try:
        levels = decode(path, spec, shape[0], "white", most=shape[0] * 64 * shape[1] * shape[2])
    except TooLargeError as error:
        raise DataError(f"{path}: is {error}, and observations are {_size(shape)}") from None
    except RefusedError as error:
        raise DataError(f"{path}: {error}") from None
    if levels.levels.shape != tuple(shape):
        raise DataError(
            f"{path}: is {_size(levels.levels.shape)}, and observations are {_size(shape)}; give "
            "samples of the size of the prepared images"
        )
    return levels.levels


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]} x {shape[2]}"


def _records(array: Values, data: Prepared, what: str) -> Values:
    columns = data.columns or []
    named = [column.name for column in columns if column.categories is not None]
    if named:
        raise DataError(
            f"{what}: is an array, and column {named[0]!r} has categories; give a table, CSV or "
            "Parquet"
        )
    _require_shape(array.shape[1:], (len(columns),), what)
    return encoded(columns, [array[:, place].astype(np.float64) for place in range(len(columns))])


def _require_shape(found: tuple[int, ...], wanted: tuple[int, ...], what: str) -> None:
    if found != wanted:
        words = (" x ".join(map(str, shape)) or "single numbers" for shape in (found, wanted))
        raise DataError("{}: has samples of {}, and observations are {}".format(what, *words))


def _channels_first(array: Values, data: Prepared, what: str) -> Values:
    channels, *size = data.shape
    shape = array.shape[1:]
    if shape == (*size, channels) != data.shape:
        return np.moveaxis(array, -1, 1)
    if shape == tuple(size) and channels == 1:
        return array[:, None]
    _require_shape(shape, data.shape, what)
    return array


def _levels(array: Values, data: Prepared, what: str) -> NDArray[np.uint8]:
    white = _white(data)
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(white)
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    top = 1 if array.dtype.kind == "f" else white
    if low < 0 or high > top:
        kind = "intensities of pixels" if top == 1 and array.dtype.kind == "f" else "levels"
        raise DataError(
            f"{what}: has values from {low:.6g} to {high:.6g}, and {kind} are from 0 to {top}; "
            "give floats from 0 (black) to 1 (white), or integer levels"
        )
    if array.dtype.kind == "f":
        array = np.rint(array * white)
    levels: NDArray[np.uint8] = array.astype(np.uint8)
    return levels


def _white(data: Prepared) -> int:
    """Level of a white pixel before anything was drawn of it."""
    rows = data.scored if isinstance(data.scored, Logits) else data.given
    return rows.depth - 1 if isinstance(rows, Logits | Shares) else data.white
