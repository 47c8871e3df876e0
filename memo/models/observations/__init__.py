"""Observation models p(x | z), one file a kind of values, for any network."""

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

__all__ = ["build_observation"]


def build_observation(
    spec: ObservationSpec, shape: tuple[int, ...]
) -> Bernoulli | Gaussian | DiagonalGaussian | LogisticMixture | Columns:
    """Build the observation model that a spec describes, for observations of that shape.

    Raises:
        ValueError: The model is not made for observations of that shape, or columns are not known
            yet.

    Example:
        Two fair binary pixels, by logits of zero:

        >>> import torch
        >>> model = build_observation(BernoulliSpec(), shape=(2,))
        >>> round(float(model.log_prob(torch.tensor([0.0, 1.0]), torch.zeros(2)).exp()), 6)
        0.25
    """
    match spec:
        case BernoulliSpec():
            return Bernoulli(shape)
        case GaussianSpec():
            return Gaussian(shape, spec.floor)
        case DiagonalGaussianSpec():
            return DiagonalGaussian(shape, spec.floor)
        case LogisticMixtureSpec():
            return LogisticMixture(shape, spec.components, spec.levels)
        case SizedColumnsSpec():
            return Columns(shape, spec.categories, spec.floor)
        case ColumnsSpec():
            raise ValueError("columns must be known first: see `memo.spec.completed_model`")
