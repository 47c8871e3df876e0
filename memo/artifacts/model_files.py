"""Trained models in files: written whole, and read only where the fingerprint holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from memo.artifacts.files import ArtifactError, write_whole
from memo.artifacts.tensors import Tensors, read_header, read_tensors, write_tensors
from memo.design.k_fold import FoldModel
from memo.pipeline.experiment import Experiment

if TYPE_CHECKING:
    from torch import nn

    from memo.training.loop import Trained
    from memo.training.stack import Weights

__all__ = ["ModelFile", "fold_file", "full_model_file", "model_files"]


@dataclass(frozen=True)
class ModelFile:
    """One trained model: weights at each scored epoch, loss history, held-out indices."""

    path: Path
    """Where it lies."""
    fingerprint: str
    """What it must carry."""
    epochs: Sequence[int]
    """Epochs whose weights it must have."""
    model: "Callable[[], nn.Module]"
    """Gives what the weights must fit; they are loaded into it."""

    def write(self, trained: "Trained", held_out: np.ndarray) -> None:
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

    def read(self) -> "Trained":
        """The trained model.

        Raises:
            ArtifactError: The file is missing, damaged, from another spec, or does not hold what
                its fingerprint says.
        """
        # Imported here: it takes a second, and reports want losses alone.
        from memo.pipeline.weights import load_weights  # noqa: PLC0415
        from memo.training.loop import Trained  # noqa: PLC0415

        tensors = self._tensors()
        weights = {epoch: _weights_of(tensors, epoch) for epoch in self.epochs}
        for epoch in self.epochs:
            if not weights[epoch]:
                raise ArtifactError(f"{self.path}: has no weights of epoch {epoch}")
            load_weights(self.model(), weights[epoch], self.path)
        return Trained(weights, self._losses(tensors))

    def read_losses(self) -> NDArray[np.float64]:
        """The loss history alone, (epochs, 2): in training, and held out where something is.

        Raises:
            ArtifactError: The file is missing, damaged, from another spec, or has none.
        """
        return self._losses(self._tensors())

    def adopt(self, folder: Path, pattern: str) -> Path | None:
        """Copy a file of another experiment that holds as this model; returns which one.

        The fingerprint names everything that determines a model, so that it is the same one, to
        the bit, that would be trained here.

        Args:
            folder: Where to look.
            pattern: Which files.
        """
        for path in sorted(folder.glob(pattern)):
            other = replace(self, path=path)
            if path != self.path and other.fits() and other.problem() is None:
                write_whole(self.path, path.read_bytes())
                return path
        return None

    def of(self, experiment: str) -> "ModelFile":
        """The file that would be this fold model's in another experiment."""
        return replace(self, path=self.path.parent.parent / experiment / self.path.name)

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

    def _tensors(self) -> Tensors:
        tensors = read_tensors(self.path)
        if tensors.facts.get("fingerprint") != self.fingerprint:
            raise ArtifactError(f"{self.path}: belongs to another spec")
        return tensors

    def _losses(self, tensors: Tensors) -> NDArray[np.float64]:
        losses = tensors.arrays.get("losses", np.empty(0))
        rows, columns = losses.shape if losses.ndim == 2 else (0, 0)
        fit = rows >= max(self.epochs) and columns == 2 and losses.dtype == np.float64
        if not fit or not np.isfinite(losses[:, 0]).all() or np.isinf(losses[:, 1]).any():
            raise ArtifactError(f"{self.path}: has no loss history")
        return losses


def fold_file(experiment: Experiment, model: FoldModel) -> ModelFile:
    """The file of a fold model."""
    return ModelFile(
        experiment.layout.fold(experiment.name, model.repeat, model.fold),
        experiment.fold_fingerprint(model),
        experiment.spec.scoring.epochs,
        lambda: experiment.blank_model,
    )


def full_model_file(experiment: Experiment) -> ModelFile:
    """The file of the model that is trained on everything."""
    return ModelFile(
        experiment.layout.full_model(experiment.name),
        experiment.full_fingerprint(),
        experiment.spec.scoring.epochs,
        lambda: experiment.blank_model,
    )


def model_files(experiment: Experiment) -> list[ModelFile]:
    """The files of all models that an experiment trains."""
    folds = [fold_file(experiment, model) for model in experiment.fold_models()]
    return [*folds, full_model_file(experiment)]


def _weights_of(tensors: Tensors, epoch: int) -> "Weights":
    prefix = f"epoch-{epoch}/"
    return {
        name.removeprefix(prefix): array
        for name, array in tensors.arrays.items()
        if name.startswith(prefix)
    }
