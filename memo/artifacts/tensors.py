"""Arrays in safetensors files, with a fingerprint and facts in the header."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from memo.artifacts.files import ArtifactError, write_whole

__all__ = ["Tensors", "read_facts", "read_tensors", "write_tensors"]


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
    write_whole(file, save(arrays, metadata={"memo": json.dumps(tensors.facts, sort_keys=True)}))


def read_facts(file: Path) -> dict[str, Any]:
    """The facts in a file's header, once the file is seen to be whole.

    Raises:
        ArtifactError: The file is missing, truncated or not memo's.
    """
    return _open(file, with_arrays=False).facts


def read_tensors(file: Path) -> Tensors:
    """Arrays and facts of a file.

    Raises:
        ArtifactError: The file is missing, truncated or not memo's.
    """
    return _open(file, with_arrays=True)


def _open(file: Path, *, with_arrays: bool) -> Tensors:
    if not file.is_file():
        raise ArtifactError(f"{file}: no such file")
    try:
        with safe_open(file, framework="numpy") as handle:
            facts = json.loads((handle.metadata() or {})["memo"])
            names = handle.keys() if with_arrays else ()
            arrays = {name: handle.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(f"{file}: is not a whole safetensors file: {error}") from error
    except KeyError:
        raise ArtifactError(f"{file}: was not written by memo") from None
    if not isinstance(facts, dict):
        raise ArtifactError(f"{file}: was not written by memo")
    return Tensors(arrays, facts)
