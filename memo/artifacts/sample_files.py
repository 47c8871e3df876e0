"""Samples of a model in a file: written whole, and read only where the fingerprint holds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memo.artifacts.files import ArtifactError
from memo.artifacts.tensors import Tensors, read_tensors, write_tensors


@dataclass(frozen=True)
class SampleFile:
    """The file of what was drawn from one model, in the space of the model's values.

    Args:
        path: Where it lies.
        fingerprint: What its header must name.
        shape: Of what must be in it, (count, *shape of an observation).
    """

    path: Path
    fingerprint: str
    shape: tuple[int, ...]

    def write(self, samples: NDArray[Any] | None) -> None:
        """Write samples, whole or not at all; None of a model that cannot be sampled from.

        Raises:
            ArtifactError: The file cannot be written.
        """
        facts = {"fingerprint": self.fingerprint, "generative": samples is not None}
        kept = np.empty((0, *self.shape[1:])) if samples is None else samples
        write_tensors(self.path, Tensors({"samples": kept}, facts))

    def read(self) -> NDArray[Any] | None:
        """Read the samples, (count, *shape); None of a model that cannot be sampled from.

        Raises:
            ArtifactError: The file is missing, damaged, or from another spec.
        """
        tensors = read_tensors(self.path)
        if tensors.facts.get("fingerprint") != self.fingerprint:
            raise ArtifactError(f"{self.path}: belongs to another spec")
        if tensors.facts.get("generative") is False:
            return None
        samples = tensors.arrays.get("samples", np.empty(0))
        if samples.shape != self.shape or not np.isfinite(samples).all():
            raise ArtifactError(f"{self.path}: does not hold {self.shape[0]} samples")
        return samples
