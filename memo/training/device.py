"""Devices to compute on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from memo.errors import InputError


def default_device() -> torch.device:
    """Choose MEMO_DEVICE, or the first of cuda, mps and cpu that this machine has.

    Raises:
        InputError: MEMO_DEVICE is not a device that torch knows.
    """
    setting = os.environ.get("MEMO_DEVICE")
    if setting is not None:
        try:
            return torch.device(setting)
        except RuntimeError:
            raise InputError(f"MEMO_DEVICE is not a device: {setting!r}") from None
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def visible_gpus() -> list[str]:
    """List the GPUs that tasks may be spread over, by their names in CUDA_VISIBLE_DEVICES.

    The list is empty where MEMO_DEVICE asks for another device, or for one GPU (cuda:1).

    Raises:
        InputError: MEMO_DEVICE is not a device that torch knows.
    """
    device = default_device()
    if device.type != "cuda" or device.index is not None:
        return []
    return gpu_names(os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count())


def gpu_names(visible: str | None, count: int) -> list[str]:
    """List the names of the GPUs that torch counts.

    Args:
        visible: CUDA_VISIBLE_DEVICES: indices or UUIDs; None for all GPUs of the machine.
        count: Number of GPUs that torch sees.
    """
    names = map(str, range(count)) if visible is None else map(str.strip, visible.split(","))
    return list(names)[:count]


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: processes share cores better, and sums have one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
