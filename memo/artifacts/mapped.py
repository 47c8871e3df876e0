"""safetensors files as arrays that stay on disk until their rows are asked for."""

import json
import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memo.artifacts.tensors import Tensors, checked_tensors

LENGTH_BYTES = 8
"""The header's length stands before the header, little-endian."""

_TYPES = {"U8": "u1", "I64": "<i8", "F32": "<f4", "F64": "<f8"}


def map_tensors(file: Path) -> Tensors:
    """The read-only arrays and the facts of a file that `write_tensors` wrote, memory-mapped.

    As `read_tensors`, it reads all of the file once, to see that its digest holds; but it keeps
    none of it in memory.

    Raises:
        ArtifactError: The file is missing, truncated, altered, or not memo's.
    """

    def arrays_of(_: Any) -> dict[str, NDArray[Any]]:
        with file.open("rb") as content:
            length = int.from_bytes(content.read(LENGTH_BYTES), "little")
            header = json.loads(content.read(length))
        start = LENGTH_BYTES + length
        header.pop("__metadata__")
        return {
            name: _mapped(
                file,
                start + entry["data_offsets"][0],
                _TYPES[entry["dtype"]],
                tuple(entry["shape"]),
            )
            for name, entry in header.items()
        }

    return checked_tensors(file, arrays_of)


class _Mapped(np.memmap[Any, Any]):
    """A memory map that is sent to another process as its place in the file, not as its bytes."""

    def __reduce__(self) -> Any:
        if isinstance(self.base, mmap.mmap):
            return _mapped, (self.filename, self.offset, self.dtype.str, self.shape)
        return np.array(self).__reduce__()


def _mapped(file: Path, offset: int, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    return _Mapped(file, dtype=dtype, mode="r", offset=offset, shape=shape)
