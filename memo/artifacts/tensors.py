"""Arrays in safetensors files, with a fingerprint and facts in the header."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from memo.artifacts.files import ArtifactError, write_whole

__all__ = ["Tensors", "read_tensors", "write_tensors"]


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
    header = {"memo": json.dumps(tensors.facts, sort_keys=True), "digest": _digest(arrays)}
    write_whole(file, save(arrays, metadata=header))


def read_tensors(file: Path) -> Tensors:
    """Arrays and facts of a file, once its digest is seen to hold.

    Raises:
        ArtifactError: The file is missing, truncated, altered, or not memo's.
    """
    if not file.is_file():
        raise ArtifactError(f"{file}: no such file")
    try:
        with safe_open(file, framework="numpy") as handle:
            header = handle.metadata() or {}
            arrays = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        facts = json.loads(header["memo"])
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(f"{file}: is not a whole safetensors file: {error}") from error
    except KeyError:
        raise ArtifactError(f"{file}: was not written by memo") from None
    if not isinstance(facts, dict) or header.get("digest") != _digest(arrays):
        raise ArtifactError(f"{file}: is damaged: its content does not have the digest it names")
    return Tensors(arrays, facts)


def _digest(arrays: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()
