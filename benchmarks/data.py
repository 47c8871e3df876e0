"""Data of the benchmarks: digits, MNIST from its files, colour images from an archive."""

import gzip
import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor

__all__ = ["colour_images", "digits", "mnist_images", "mnist_intensities"]


def digits() -> Tensor:
    """8 x 8 digits, binarized by one draw."""
    return _binarized(load_digits().images / 16)


def mnist_images(folder: Path, count: int) -> Tensor:
    """The first MNIST training images, padded to 32 x 32, binarized by one draw."""
    return _binarized(mnist_intensities(folder, "train")[:count])


def mnist_intensities(folder: Path, part: Literal["train", "t10k"]) -> np.ndarray:
    """All MNIST training or test images, padded to 32 x 32, in [0, 1]: (n, 32, 32)."""
    raw = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    images = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)
    return np.pad(images, ((0, 0), (2, 2), (2, 2))).astype(np.float32) / 255


def colour_images(archive: Path, count: int) -> Tensor:
    """Colour images of a zip archive in random order, 32 x 32, uniformly dequantized to [0, 1]."""
    with zipfile.ZipFile(archive) as files:
        names = sorted(n for n in files.namelist() if n.endswith((".jpg", ".jpeg", ".png")))
        chosen = np.random.default_rng(0).permutation(names)[:count]
        images = [np.array(Image.open(files.open(name)).convert("RGB")) for name in chosen]
    levels = np.stack(images).transpose(0, 3, 1, 2)
    noise = np.random.default_rng(1).random(levels.shape)
    return torch.from_numpy(((levels + noise) / 256).astype(np.float32))


def _binarized(intensity: np.ndarray) -> Tensor:
    uniform = np.random.default_rng(0).random(intensity.shape)
    return torch.from_numpy((uniform < intensity).astype(np.float32))
