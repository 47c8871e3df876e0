"""Functions and arguments as bytes that another machine can read.

Arrays travel beside the pickled rest (PEP 574), so that they are copied once, from where they are
to where they go. A memory-mapped array travels as its content: the file may be on this machine
alone.
"""

import io
import pickle
from typing import Any, TypeAlias

import cloudpickle
import numpy as np
from numpy.typing import NDArray

__all__ = ["Parcel", "packed", "unpacked"]

Parcel: TypeAlias = list[NDArray[np.uint8]]
"""The pickled thing without its arrays, then the bytes of each array."""

PROTOCOL = 5


def packed(thing: Any) -> Parcel:
    """A thing as bytes; its arrays are not copied."""
    stream = io.BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    _Pickler(stream, protocol=PROTOCOL, buffer_callback=buffers.append).dump(thing)
    return [np.frombuffer(part, np.uint8) for part in (stream.getbuffer(), *_raw(buffers))]


def unpacked(parcel: Parcel) -> Any:
    """What was `packed`; its arrays are read-only where the parcel's bytes are."""
    return pickle.loads(parcel[0].data, buffers=parcel[1:])


def _raw(buffers: list[pickle.PickleBuffer]) -> list[memoryview]:
    return [buffer.raw() for buffer in buffers]


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, np.memmap):
            return np.ascontiguousarray(thing).view(np.ndarray).__reduce_ex__(PROTOCOL)
        return super().reducer_override(thing)
