"""Trained models in files: written whole, and read only where the fingerprint holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from memo.artifacts.files import ArtifactError, write_whole
from memo.artifacts.tensors import Tensors, read_header, read_tensors, write_tensors
from memo.errors import WorkError

Weights = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class SavedModel:
    """The contents of a trained model's file."""

    weights: dict[int, Weights]
    """Parameters and buffers by name, for each scored epoch."""
    losses: NDArray[np.float64]
    """(epochs, 2): mean loss in training and held out after each epoch, nats."""


@dataclass(frozen=True)
class ModelFile:
    """The file of one trained model: weights at each scored epoch, losses, held-out indices.

    Args:
        path: Where it lies.
        fingerprint: What its header must name.
        epochs: Epochs whose weights it must have.
        require_fit: Raises WorkError where weights are not those of the spec's model.
    """

    path: Path
    fingerprint: str
    epochs: Sequence[int]
    require_fit: Callable[[Weights], None]

    def write(
        self,
        weights: dict[int, Weights],
        losses: NDArray[np.float64],
        held_out: NDArray[np.int64],
    ) -> None:
        """Write a trained model, whole or not at all.

        Raises:
            ArtifactError: The file cannot be written.
        """
        arrays = {
            f"epoch-{epoch}/{name}": array
            for epoch, of_epoch in weights.items()
            for name, array in of_epoch.items()
        }
        facts = {"fingerprint": self.fingerprint, "epochs": sorted(weights)}
        write_tensors(self.path, Tensors({**arrays, "losses": losses, "held_out": held_out}, facts))

    def read(self) -> SavedModel:
        """Read the weights of each scored epoch, and the losses.

        Raises:
            ArtifactError: The file is missing, damaged, from another spec, or does not hold what
                its fingerprint says.
        """
        tensors = self._tensors()
        weights = {epoch: _weights_of(tensors, epoch) for epoch in self.epochs}
        for epoch, of_epoch in weights.items():
            if not of_epoch:
                raise ArtifactError(f"{self.path}: has no weights of epoch {epoch}")
            try:
                self.require_fit(of_epoch)
            except WorkError as error:
                raise ArtifactError(f"{self.path}: {error}") from error
        return SavedModel(weights, self._losses(tensors))

    def read_losses(self) -> NDArray[np.float64]:
        """Read the losses alone, (epochs, 2): in training, and held out where something is.

        Raises:
            ArtifactError: The file is missing, damaged, from another spec, or has none.
        """
        return self._losses(self._tensors())

    def problem(self) -> str | None:
        """Say why the file cannot be read as this model; None where it can."""
        try:
            self.read()
        except ArtifactError as error:
            return str(error)
        return None

    def at(self, path: Path) -> "ModelFile":
        """Make the file of this model in another place."""
        return replace(self, path=path)

    def names_this_model(self) -> bool:
        """True where the file's header has this model's fingerprint; the rest is not read."""
        try:
            with safe_open(self.path, framework="numpy") as handle:
                _, facts = read_header(handle.metadata())
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            return False
        return facts.get("fingerprint") == self.fingerprint

    def copy_from(self, folder: Path, pattern: str) -> Path | None:
        """Copy the file of another experiment that holds the same model; return which one.

        A fingerprint names everything that determines a model, so that the copy has the bits that
        training it here would give.

        Args:
            folder: Where to look.
            pattern: Which files, as `Path.glob` takes it.

        Raises:
            ArtifactError: The copy cannot be written.
        """
        for path in sorted(folder.glob(pattern)):
            other = self.at(path)
            if path != self.path and other.names_this_model() and other.problem() is None:
                write_whole(self.path, path.read_bytes())
                return path
        return None

    def _tensors(self) -> Tensors:
        tensors = read_tensors(self.path)
        if tensors.facts.get("fingerprint") != self.fingerprint:
            raise ArtifactError(f"{self.path}: belongs to another spec")
        return tensors

    def _losses(self, tensors: Tensors) -> NDArray[np.float64]:
        losses = tensors.arrays.get("losses", np.empty(0))
        rows, columns = losses.shape if losses.ndim == 2 else (0, 0)
        fit = rows >= max(self.epochs) and columns == 2 and losses.dtype == np.float64
        unknown = bool(np.isnan(losses).all())  # of a model that has no log p and none but samples
        known = fit and np.isfinite(losses[:, 0]).all() and not np.isinf(losses[:, 1]).any()
        if not fit or not (known or unknown):
            raise ArtifactError(f"{self.path}: has no loss history")
        return losses


def _weights_of(tensors: Tensors, epoch: int) -> Weights:
    prefix = f"epoch-{epoch}/"
    return {
        name.removeprefix(prefix): array
        for name, array in tensors.arrays.items()
        if name.startswith(prefix)
    }
