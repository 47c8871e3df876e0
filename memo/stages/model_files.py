"""Trained models in files: written whole, and read only where the fingerprint holds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from memo.artifacts import ArtifactError, Tensors, read_tensors, write_tensors
from memo.models import build_model
from memo.spec import ModelSpec
from memo.training import Trained, Weights

__all__ = ["ModelFile"]


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

    def problem(self) -> str | None:
        """Why the file cannot be read as this model; None where it can."""
        try:
            self.read()
        except ArtifactError as error:
            return str(error)
        return None


def require_fit(weights: Weights, model: ModelSpec, shape: tuple[int, ...], file: Path) -> None:
    """Check that weights from a file are those of the model, and finite.

    Raises:
        ArtifactError: A name, a shape or a value is wrong.
    """
    expected = {n: tuple(t.shape) for n, t in build_model(model, shape).state_dict().items()}
    found = {name: array.shape for name, array in weights.items()}
    if expected != found:
        wrong = sorted(set(expected.items()) ^ set(found.items()))[0][0]
        raise ArtifactError(f"{file}: weights {wrong!r} do not fit the model of the spec")
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise ArtifactError(f"{file}: weights {name!r} are not finite")


def _weights_of(tensors: Tensors, epoch: int) -> Weights:
    prefix = f"epoch-{epoch}/"
    return {
        name.removeprefix(prefix): array
        for name, array in tensors.arrays.items()
        if name.startswith(prefix)
    }
