"""What the benchmarks measure on: digits, and MNIST from a folder of its files."""

import gzip
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

__all__ = ["digits", "mnist_images"]


def digits() -> Tensor:
    """8 x 8 digits, binarized by one draw."""
    return _binarized(load_digits().images / 16)


def mnist_images(folder: Path, count: int) -> Tensor:
    """The first MNIST training images, padded to 32 x 32, binarized by one draw."""
    raw = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())
    images = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)[:count]
    return _binarized(np.pad(images, ((0, 0), (2, 2), (2, 2))) / 255)


def _binarized(intensity: np.ndarray) -> Tensor:
    uniform = np.random.default_rng(0).random(intensity.shape)
    return torch.from_numpy((uniform < intensity).astype(np.float32))
