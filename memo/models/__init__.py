"""Densities, one file a family; `memo.models.protocols` has the methods that they offer."""

from memo.models.build import build_model, initial_model
from memo.models.protocols import (
    ClosedForm,
    Density,
    Estimated,
    FitError,
    Fitted,
    Generative,
    LatentVariableModel,
    ObservationModel,
    Trainable,
    is_latent_variable_model,
)

__all__ = [
    "ClosedForm",
    "Density",
    "Estimated",
    "FitError",
    "Fitted",
    "Generative",
    "LatentVariableModel",
    "ObservationModel",
    "Trainable",
    "build_model",
    "initial_model",
    "is_latent_variable_model",
]
