"""MNIST and Fashion-MNIST, from their IDX files."""

import gzip
import zlib
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memo.datasets.draws import drawn, limit_notes
from memo.datasets.prepared import DataError
from memo.datasets.sources.download import find_or_download
from memo.datasets.sources.image_files import Images, reshape_arrays
from memo.spec.dataset_specs import FashionMNISTSpec, MNISTSpec

IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"
CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def read_mnist(spec: MNISTSpec | FashionMNISTSpec) -> Images:
    """Training images of MNIST (LeCun et al. 1998) or Fashion-MNIST (Xiao et al. 2017).

    Raises:
        DataError: Files are missing or damaged.
    """
    fashion = spec.kind == "fashion-mnist"
    torchvision = "FashionMNIST" if fashion else "MNIST"
    folders = [Path(spec.root), Path(spec.root, torchvision, "raw")]
    images, labels = find_or_download(
        spec,
        lambda: _find(folders),
        torchvision=torchvision,
        files=f"{IMAGES} and {LABELS}, as they are or with .gz,",
        folders=folders,
        address="https://github.com/zalandoresearch/fashion-mnist"
        if fashion
        else "http://yann.lecun.com/exdb/mnist/",
    )
    pixels, classes = read_idx(images, 3), read_idx(labels, 1)
    if len(pixels) != len(classes):
        raise DataError(
            f"{images}: has {len(pixels):,} images, but {labels} has {len(classes):,} labels"
        )
    if fashion and classes.max(initial=0) >= len(CLOTHES):
        raise DataError(f"{labels}: has labels beyond {len(CLOTHES) - 1}")
    names = [CLOTHES[k] if fashion else str(k) for k in classes]
    chosen = drawn(names, spec.limit, spec.seed)
    return Images(
        levels=reshape_arrays(pixels[chosen, None], spec),
        ids=[f"{spec.kind}-{index:05d}" for index in chosen],
        labels=[names[index] for index in chosen],
        facts={
            "notes": limit_notes(chosen, names, spec.seed),
            "source": "Fashion-MNIST training images (Xiao et al. 2017), MIT licence"
            if fashion
            else "MNIST training images (LeCun, Cortes & Burges), CC BY-SA 3.0",
        },
    )


def read_idx(file: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of bytes, packed by gzip or not: two zeros, 8, dimensions, sizes, values.

    Raises:
        DataError: The file has another format, or is truncated.
    """
    try:
        content = file.read_bytes()
        if file.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
    start = 4 + 4 * dimensions
    if len(content) < start or content[:4] != bytes([0, 0, 8, dimensions]):
        raise DataError(f"{file}: is not an IDX file of bytes in {dimensions} dimensions")
    sizes = np.frombuffer(content, ">u4", dimensions, 4).tolist()
    if len(content) != start + prod(sizes):
        raise DataError(
            f"{file}: is damaged: {len(content):,} bytes, where its header says "
            f"{start + prod(sizes):,}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes)


def _find(folders: list[Path]) -> tuple[Path, Path] | None:
    images, labels = (_first(folders, name) for name in (IMAGES, LABELS))
    return (images, labels) if images and labels else None


def _first(folders: list[Path], name: str) -> Path | None:
    places = (folder / f"{name}{suffix}" for folder in folders for suffix in ("", ".gz"))
    return next(filter(Path.is_file, places), None)
