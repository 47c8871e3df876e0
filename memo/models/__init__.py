"""Densities: one file a family; what a density must offer is in `memo.models.protocols`."""

from memo.models.build import build_model, initial_model
from memo.models.protocols import Density, LatentVariableModel, ObservationModel, Trainable

__all__ = [
    "Density",
    "LatentVariableModel",
    "ObservationModel",
    "Trainable",
    "build_model",
    "initial_model",
]
