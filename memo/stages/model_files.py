"""Trained models in files: written whole, and read only where the fingerprint holds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from memo.artifacts import ArtifactError, Tensors, read_tensors, write_tensors, write_whole
from memo.artifacts.tensors import read_header
from memo.models import build_model
from memo.spec import ModelSpec
from memo.training import Trained, Weights

__all__ = ["ModelFile", "loaded_model"]


class ModelFile:
    """One trained model: weights at each scored epoch, loss history, held-out indices.

    Args:
        path: Where it lies.
        fingerprint: What it must carry.
        epochs: Epochs whose weights it must have.
    """

    def __init__(self, path: Path, fingerprint: str, epochs: Sequence[int]) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.epochs = list(epochs)

    def write(self, trained: Trained, held_out: np.ndarray) -> None:
        """Write a trained model, whole or not at all."""
        arrays = {
            f"epoch-{epoch}/{name}": array
            for epoch, weights in trained.weights.items()
            for name, array in weights.items()
        }
        write_tensors(
            self.path,
            Tensors(
                {**arrays, "losses": trained.losses, "held_out": held_out},
                {"fingerprint": self.fingerprint, "epochs": sorted(trained.weights)},
            ),
        )

    def read(self) -> Trained:
        """The trained model.

        Raises:
            ArtifactError: The file is missing, damaged, or from another spec.
        """
        tensors = read_tensors(self.path)
        if tensors.facts.get("fingerprint") != self.fingerprint:
            raise ArtifactError(f"{self.path}: belongs to another spec")
        if not set(self.epochs) <= set(tensors.facts.get("epochs", ())):
            raise ArtifactError(f"{self.path}: has no weights of epoch {self.epochs}")
        return Trained(
            {epoch: _weights_of(tensors, epoch) for epoch in self.epochs}, tensors.arrays["losses"]
        )

    def adopt(self, folder: Path, pattern: str) -> Path | None:
        """Copy a file of another experiment that holds as this model; returns which one.

        The fingerprint names everything that determines a model, so that it is the same one, to
        the bit, that would be trained here.

        Args:
            folder: Where to look.
            pattern: Which files.
        """
        for path in sorted(folder.glob(pattern)):
            other = ModelFile(path, self.fingerprint, self.epochs)
            if path != self.path and other.fits() and other.problem() is None:
                write_whole(self.path, path.read_bytes())
                return path
        return None

    def of(self, experiment: str) -> "ModelFile":
        """The file that would be this fold model's in another experiment."""
        path = self.path.parent.parent / experiment / self.path.name
        return ModelFile(path, self.fingerprint, self.epochs)

    def fits(self) -> bool:
        """Whether the file's header names this model; its content is not read."""
        try:
            with safe_open(self.path, framework="numpy") as handle:
                _, facts = read_header(handle.metadata())
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            return False
        return facts.get("fingerprint") == self.fingerprint

    def problem(self) -> str | None:
        """Why the file cannot be read as this model; None where it can."""
        try:
            self.read()
        except ArtifactError as error:
            return str(error)
        return None


def loaded_model(
    weights: Weights, model: ModelSpec, shape: tuple[int, ...], file: Path
) -> nn.Module:
    """The model with weights from a file, once they are seen to be its own, and finite.

    Raises:
        ArtifactError: A name, a shape or a value is wrong.
    """
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise ArtifactError(f"{file}: weights {name!r} are not finite")
    built = build_model(model, shape)
    try:
        built.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ArtifactError(f"{file}: does not fit the model of the spec: {reason}") from error
    return built


def _weights_of(tensors: Tensors, epoch: int) -> Weights:
    prefix = f"epoch-{epoch}/"
    return {
        name.removeprefix(prefix): array
        for name, array in tensors.arrays.items()
        if name.startswith(prefix)
    }
