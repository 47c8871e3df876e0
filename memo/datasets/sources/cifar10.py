"""CIFAR-10, from its binary files or torchvision's."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memo.datasets.draws import drawn, limit_notes
from memo.datasets.prepared import DataError
from memo.datasets.sources.download import find_or_download
from memo.datasets.sources.image_files import Images, reshape_arrays
from memo.spec.dataset_specs import CIFAR10Spec

BATCHES = tuple(f"data_batch_{batch}.bin" for batch in range(1, 6))
RECORD = 1 + 3 * 32 * 32
"""A label, then the red, green and blue planes."""

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def read_cifar10(spec: CIFAR10Spec) -> Images:
    """Training images of CIFAR-10 (Krizhevsky 2009).

    The binary version is read where there is one. torchvision's files are pickles: they are left to
    torchvision, which unpickles only files with the official MD5 sums.

    Raises:
        DataError: Files are missing or damaged.
    """
    root = Path(spec.root)
    folders = [root, root / "cifar-10-batches-bin"]
    pixels, classes = find_or_download(
        spec,
        lambda: _from_binary(folders) or _from_torchvision(root),
        torchvision="CIFAR10",
        files=f"{BATCHES[0]} to {BATCHES[-1]} (the binary version), or torchvision's "
        "cifar-10-batches-py,",
        folders=folders,
        address="https://www.cs.toronto.edu/~kriz/cifar.html",
    )
    names = [CLASSES[k] for k in classes]
    chosen = drawn(names, spec.limit, spec.seed)
    return Images(
        levels=reshape_arrays(pixels[chosen], spec),
        ids=[f"cifar10-{index:05d}" for index in chosen],
        labels=[names[index] for index in chosen],
        facts={
            "notes": limit_notes(chosen, names, spec.seed),
            "source": "CIFAR-10 training images (Krizhevsky 2009)",
        },
    )


_Pixels = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def _from_binary(folders: list[Path]) -> _Pixels | None:
    for folder in folders:
        files = [folder / batch for batch in BATCHES]
        if all(file.is_file() for file in files):
            records = np.concatenate([_records(file) for file in files])
            return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]
    return None


def _records(file: Path) -> NDArray[np.uint8]:
    content = np.fromfile(file, np.uint8)
    if len(content) % RECORD:
        raise DataError(f"{file}: is damaged: {len(content):,} bytes are no multiple of {RECORD:,}")
    records = content.reshape(-1, RECORD)
    if records[:, 0].max(initial=0) >= len(CLASSES):
        raise DataError(f"{file}: has labels beyond {len(CLASSES) - 1}")
    return records


def _from_torchvision(root: Path) -> _Pixels | None:
    if not (root / "cifar-10-batches-py").is_dir():
        return None
    from torchvision.datasets import CIFAR10  # noqa: PLC0415 - a slow import, for the rare case

    try:
        source = CIFAR10(root)
    except RuntimeError:  # files are missing, or not the official ones
        return None
    return source.data.transpose(0, 3, 1, 2), np.array(source.targets, np.uint8)
