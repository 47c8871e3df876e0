"""Which device to compute on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from memo.errors import InputError

__all__ = ["default_device", "one_thread"]


def default_device() -> torch.device:
    """MEMO_DEVICE, or cuda, mps or cpu: the first that this machine has.

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


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for arithmetic: processes share cores better, and sums have one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
