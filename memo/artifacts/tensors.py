"""Arrays in safetensors files, with a fingerprint and facts in the header."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from memo.artifacts.files import ArtifactError, require_file, write_whole

HEADER = "memo"


@dataclass(frozen=True)
class Tensors:
    """Named arrays and the JSON facts that travel with them."""

    arrays: dict[str, NDArray[Any]]
    facts: dict[str, Any]


def write_tensors(file: Path, tensors: Tensors) -> None:
    """Write arrays and facts, whole or not at all.

    Raises:
        ArtifactError: The file cannot be written.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.arrays.items()}
    header = json.dumps({"digest": _arrays_digest(arrays), "facts": tensors.facts}, sort_keys=True)
    # One entry only: safetensors writes several in an order that differs from run to run.
    write_whole(file, save(arrays, metadata={HEADER: header}))


def read_tensors(file: Path) -> Tensors:
    """Arrays and facts of a file, once its digest is seen to hold.

    Raises:
        ArtifactError: The file is missing, truncated, altered, or not memo's.
    """

    def arrays_of(handle: Any) -> dict[str, NDArray[Any]]:
        return {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118

    return checked_tensors(file, arrays_of)


def checked_tensors(file: Path, arrays_of: Callable[[Any], dict[str, NDArray[Any]]]) -> Tensors:
    """Read a file's contents, its arrays as `arrays_of` takes them from the open file.

    Raises:
        ArtifactError: The file is missing, truncated, altered, or not memo's.
    """
    require_file(file)
    try:
        with safe_open(file, framework="numpy") as handle:
            digest, facts = read_header(handle.metadata())
            arrays = arrays_of(handle)
    except (KeyError, TypeError, AttributeError):
        raise ArtifactError(f"{file}: was not written by memo") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(f"{file}: is not a whole safetensors file: {error}") from error
    if digest != _arrays_digest(arrays):
        raise ArtifactError(f"{file}: is damaged: its content does not have the digest it names")
    return Tensors(arrays, facts)


def read_header(metadata: dict[str, str] | None) -> tuple[str, dict[str, Any]]:
    """Digest and facts from a file's metadata; KeyError or TypeError where they are not memo's."""
    try:
        header = json.loads((metadata or {})[HEADER])
    except RecursionError:
        raise TypeError("nested too deep") from None
    digest, facts = header["digest"], header["facts"]
    if not isinstance(facts, dict):
        raise TypeError(HEADER)
    return str(digest), facts


def _arrays_digest(arrays: dict[str, NDArray[Any]]) -> str:
    """SHA-256 over names, types, shapes and content."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()
