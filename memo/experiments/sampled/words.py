"""Words for readers about log p that is estimated from samples."""

import math
from collections.abc import Sequence

import numpy as np

from memo.experiments.experiment import Experiment
from memo.experiments.sampled.feature_space import feature_space, space_determinants
from memo.experiments.sampled.sampled_density import space_categories
from memo.models.protocols import has_log_p, is_latent_variable_model
from memo.samples.density.kernel import EXTRAPOLATED
from memo.spec.sample_specs import CustomSpaceSpec, EncoderSpaceSpec, VisionSpaceSpec
from memo.spec.sampled_likelihood_specs import (
    DensitySpaceSpec,
    PrincipalSpaceSpec,
    SampledLikelihoodSpec,
    ValuesSpaceSpec,
)
from memo.spec.scoring_specs import LikelihoodSpec

SPACE_FACT = "space"
"""The fact beside scores that tells which space log p is in, where that is none of the values."""

FEW_DIMENSIONS = 8
"""Dimensions up to which intervals of scores by kernels held about what they promise."""

_SPACES = {
    "values": "the values of the observations",
    "pixels": "pixels",
    "downsampled": "pixels downsampled by a half",
    "encoder": "the space of the full model's encoder",
}

_ESTIMATED = {
    "kernel": "by a kernel whose bandwidth all models share",
    "nearest": "by the distance to the nearest of them",
    "flow": "by normalizing flows that are fitted to them",
}


def space_words(space: DensitySpaceSpec) -> str:
    """Name a space, as after `in`."""
    match space:
        case PrincipalSpaceSpec(components=count):
            return f"the first {count} principal components of the observations"
        case CustomSpaceSpec(target=target):
            return f"the space of {target}"
        case VisionSpaceSpec():
            return vision_words(space)
        case _:
            return _SPACES[space.kind]


def vision_words(space: VisionSpaceSpec) -> str:
    """Name a space of a network's features."""
    some = f"{space.components} principal components of " if space.components else ""
    layer = f", {space.layer}" if space.layer else ""
    return f"{some}features of torchvision's {space.model} ({space.weights}{layer})"


def density_dimensions(experiment: Experiment) -> int | None:
    """Columns that densities from samples are over; None where log p comes from the model."""
    likelihood = experiment.spec.scoring.likelihood
    if not isinstance(likelihood, SampledLikelihoodSpec):
        return None
    data, model = experiment.data, experiment.blank_model
    match likelihood.space:
        case PrincipalSpaceSpec(components=int(count)) | VisionSpaceSpec(components=int(count)):
            return count
        case EncoderSpaceSpec():
            return model.latent if is_latent_variable_model(model) else None
        case ValuesSpaceSpec() if data.columns is not None:
            return len(data.columns)
        case ValuesSpaceSpec():
            return math.prod(data.shape)
        case space:
            support = experiment.spec.model.support
            made = feature_space(data, support, space, lambda: model)
            return made.observed(np.arange(1)).shape[1]


def about_samples(experiment: Experiment) -> str:
    """Say what rests on samples, and what to know of that; empty where nothing does."""
    likelihood = experiment.spec.scoring.likelihood
    if not isinstance(likelihood, SampledLikelihoodSpec):
        return ""
    own = (
        "The model has a log p of its own, which is not used here"
        if has_log_p(experiment.blank_model)
        else "The model has samples and no log p"
    )
    dimensions, support = density_dimensions(experiment), experiment.spec.model.support
    categories = len(space_categories(experiment.data, support, likelihood))
    return about_estimate(likelihood, own, dimensions, categories)


def about_estimate(
    likelihood: SampledLikelihoodSpec, own: str, dimensions: int | None, categories: int
) -> str:
    """Say what rests on samples.

    Args:
        likelihood: Spec of the estimator.
        own: A sentence on the models' own log p, without its full stop.
        dimensions: Columns that densities are over; None where that is not known.
        categories: Number of those that are categories.
    """
    how = _ESTIMATED[likelihood.estimator]
    words = (
        f"{own}: each log p on this page, and with it scores, attacks and what a policy limits, is "
        f"the log density in {space_words(likelihood.space)}, estimated {how}, from at most "
        f"{likelihood.max_samples:,} samples of each model; intervals count the error that comes "
        "of their number. Scores tell what is memorized as far as so many samples show it, and "
        "read low where a model's density has peaks narrower than the distance between samples, "
        "and where there are many dimensions. There is no figure of densities, and no check of "
        "log p by another method."
    )
    if dimensions is None or dimensions > FEW_DIMENSIONS or likelihood.estimator != "kernel":
        return words
    numbers = dimensions - categories
    if numbers not in EXTRAPOLATED:
        return words
    return (
        f"{words} In {numbers} columns of numbers log p is extrapolated to a bandwidth of zero. Of "
        "Gaussian mixtures, flows and VAEs, whose own log p is known, in 4 to 8 dimensions, 95% "
        "intervals then held 89 to 98% of exact scores, and nearly all others lay above them."
    )


def space_fact(experiment: Experiment) -> dict[str, str]:
    """The fact by which scores of unlike spaces are not compared; none where log p is of values."""
    likelihood = experiment.spec.scoring.likelihood
    if not in_another_space(likelihood):
        return {}
    assert isinstance(likelihood, SampledLikelihoodSpec)
    encoder = likelihood.space.kind == "encoder"
    return named_space(likelihood.space, [experiment.full_model.fingerprint] if encoder else [])


def named_space(space: DensitySpaceSpec, more: Sequence[str] = ()) -> dict[str, str]:
    """The fact that names a space by all that determines it.

    Args:
        space: Spec of the space.
        more: Hashes of what determines it beside its spec and its files.
    """
    if space.kind == "values":
        return {}
    hashes = [*more, *space_determinants(space).values()]
    return {SPACE_FACT: " ".join([space_words(space), *(f"({one})" for one in hashes)])}


def in_another_space(likelihood: LikelihoodSpec) -> bool:
    """True where log p is of what observations are mapped to, and not of themselves."""
    return isinstance(likelihood, SampledLikelihoodSpec) and likelihood.space.kind != "values"
