"""Observation models p(x | z), once each, for any network."""

from memo.models.observations.bernoulli import Bernoulli
from memo.models.observations.gaussian import DiagonalGaussian, Gaussian
from memo.models.observations.logistic_mixture import LogisticMixture
from memo.spec import (
    BernoulliSpec,
    DiagonalGaussianSpec,
    GaussianSpec,
    LogisticMixtureSpec,
    ObservationSpec,
)

__all__ = ["Bernoulli", "DiagonalGaussian", "Gaussian", "LogisticMixture", "build_observation"]


def build_observation(
    spec: ObservationSpec, shape: tuple[int, ...]
) -> Bernoulli | Gaussian | DiagonalGaussian | LogisticMixture:
    """The observation model that the spec names, for observations of that shape."""
    match spec:
        case BernoulliSpec():
            return Bernoulli(shape)
        case GaussianSpec():
            return Gaussian(shape, spec.floor or 0.0)
        case DiagonalGaussianSpec():
            return DiagonalGaussian(shape, spec.floor)
        case LogisticMixtureSpec():
            return LogisticMixture(shape, spec.components, spec.levels)
