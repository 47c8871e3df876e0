"""Functions and arguments as bytes that another process or machine can read.

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

Payload: TypeAlias = list[NDArray[np.uint8]]
"""The pickled thing without its arrays, then the bytes of each array."""

PROTOCOL = 5


def pack(thing: Any) -> Payload:
    """Pickle a thing, with the code of what no module holds; its arrays are not copied."""
    stream = io.BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    _Pickler(stream, protocol=PROTOCOL, buffer_callback=buffers.append).dump(thing)
    parts = [stream.getbuffer(), *(buffer.raw() for buffer in buffers)]
    return [np.frombuffer(part, np.uint8) for part in parts]


def unpack(payload: Payload) -> Any:
    """Restore what was packed; its arrays are read-only where the payload's bytes are."""
    return pickle.loads(payload[0].data, buffers=payload[1:])


_held: tuple[str, Any] | None = None


def run_packed(job: Payload | None, task: Payload, key: str = "") -> Any:
    """Run a task in a worker, which holds what it unpacked for the tasks of one key.

    Args:
        job: A packed pair of a function and what tasks share; None where the worker holds it.
        task: A packed task.
        key: Name of the job among those that the worker gets.
    """
    global _held  # noqa: PLW0603 -- a worker process works for one run at a time
    if job is not None and (_held is None or _held[0] != key):
        _held = key, unpack(job)
    assert _held is not None
    function, shared = _held[1]
    return function(shared, unpack(task))


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, np.memmap):
            return np.ascontiguousarray(thing).view(np.ndarray).__reduce_ex__(PROTOCOL)
        return super().reducer_override(thing)
