"""Observation models p(x | z), once each, for any network."""

from memo.models.observations.bernoulli import Bernoulli
from memo.models.observations.gaussian import DiagonalGaussian, Gaussian
from memo.models.observations.logistic_mixture import LogisticMixture
from memo.models.observations.mixed_columns import Columns
from memo.spec.model_specs import (
    BernoulliSpec,
    ColumnsSpec,
    DiagonalGaussianSpec,
    GaussianSpec,
    LogisticMixtureSpec,
    ObservationSpec,
    SizedColumnsSpec,
)

__all__ = [
    "Bernoulli",
    "Columns",
    "DiagonalGaussian",
    "Gaussian",
    "LogisticMixture",
    "build_observation",
]


def build_observation(
    spec: ObservationSpec, shape: tuple[int, ...]
) -> Bernoulli | Gaussian | DiagonalGaussian | LogisticMixture | Columns:
    """The observation model that the spec names, for observations of that shape.

    Raises:
        ValueError: It is not made for observations of that shape, or not completed from the data.
    """
    match spec:
        case BernoulliSpec():
            return Bernoulli(shape)
        case GaussianSpec():
            return Gaussian(shape, spec.floor or 0.0)
        case DiagonalGaussianSpec():
            return DiagonalGaussian(shape, spec.floor)
        case LogisticMixtureSpec():
            return LogisticMixture(shape, spec.components, spec.levels)
        case SizedColumnsSpec():
            return Columns(shape, spec.categories, spec.floor)
        case ColumnsSpec():
            raise ValueError("columns must be known first: see `memo.spec.completed_model`")
