"""log p of an experiment's observations as samples of its models tell it.

Equally for all models stand the space, its units and the bandwidth, so that the bias that these
make where models agree cancels in a score; what one model alone makes of an observation, finer than
the bandwidth, is smoothed, and scores read low for it. Models of a repeat draw from the same random
numbers, as they do in training.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import nn

from memo.datasets.prepared import Prepared
from memo.datasets.tabular.columns import category_counts
from memo.experiments.sampled.feature_space import FeatureSpace, feature_space
from memo.likelihood.importance_weights import LogLikelihood
from memo.models.protocols import Generative
from memo.models.state import loaded_model
from memo.samples.density.ball import Balls, neighbours_for
from memo.samples.density.fitted_flows import FittedFlows
from memo.samples.density.kernel import Kernel, KernelSums, fitted_kernel
from memo.samples.density.rounds import ROUNDS, Accumulated, from_samples
from memo.samples.density.units import Rows, Units
from memo.samples.drawing import draw_further
from memo.samples.spaces import EmbeddingError
from memo.spec.base import Support
from memo.spec.model_specs import ModelSpec
from memo.spec.sample_specs import EncoderSpaceSpec
from memo.spec.sampled_likelihood_specs import SampledLikelihoodSpec, ValuesSpaceSpec
from memo.training.device import default_device
from memo.training.stack import Weights

ASIDE = 256
"""Samples of the full model that are set aside, to choose a bandwidth by."""

MOST_HAVE = 4.0
"""Times as small as the tolerance is the standard error of most estimates: a score's is smaller."""

TRIED = 8
"""Observations that a space is tried on."""

LEARNED_FROM = 16_384
"""Samples of the full model that these are predicted from, at most."""


@dataclass(frozen=True)
class SampledDensities:
    """The estimator of densities from samples, the same for all models of an experiment."""

    data: Prepared
    model: ModelSpec
    spec: SampledLikelihoodSpec
    units: Units
    kernels: Mapping[int, Kernel]
    """By epoch."""
    encoder: Weights | None
    """Weights of the model whose encoder makes the space, if one does."""

    def log_likelihood(self, model: nn.Module, epoch: int, seed: int) -> LogLikelihood:
        """log p of all observations under a model, in the space of the spec; nats.

        Args:
            model: A `Generative`, with its weights at the epoch.
            epoch: A scored epoch.
            seed: Seed of what is drawn.

        Raises:
            WorkError: Samples are not finite.
        """
        space = _space(self.data, self.model, self.spec, self.encoder)
        x = self.units.rows(space.observed(np.arange(len(self.data))))
        density = density_at(x, self.spec, self.kernels.get(epoch), seed)
        # more samples make biases of the others smaller, which their standard errors do not tell
        rounds = ROUNDS if self.spec.estimator == "kernel" else 1
        first = self.spec.max_samples // rounds
        draw = _drawing(model, space, self.units, seed)
        wanted = self.spec.tolerance / MOST_HAVE
        found = from_samples(draw, density, first, self.spec.max_samples, wanted)
        return found.shifted(-self.units.log_volume)


def sampled_densities(
    data: Prepared,
    model: ModelSpec,
    spec: SampledLikelihoodSpec,
    full_model: Mapping[int, nn.Module],
    weights: Callable[[], Weights],
    seed: int,
) -> SampledDensities:
    """Choose units and bandwidths.

    Args:
        data: The observations.
        model: Spec of the model.
        spec: Spec of the estimator.
        full_model: The full model, by scored epoch.
        weights: Gives its weights at the last of these.
        seed: Seed of the samples that bandwidths are chosen by.

    Raises:
        EmbeddingError: The space cannot be had for these observations.
        WorkError: Samples are not finite.
    """
    encoder = weights() if isinstance(spec.space, EncoderSpaceSpec) else None
    space = _space(data, model, spec, encoder)
    categories = space_categories(data, model.support, spec)
    units = Units.of(space.observed(np.arange(len(data))), categories)
    kernels = {}
    if spec.estimator == "kernel":
        for epoch, own in full_model.items():
            draw = _drawing(own, space, units, seed)
            others = draw(min(LEARNED_FROM, spec.max_samples))
            kernels[epoch] = fitted_kernel(draw(ASIDE), others, categories, spec.max_samples)
    return SampledDensities(data, model, spec, units, kernels, encoder)


def density_at(
    x: Rows, spec: SampledLikelihoodSpec, kernel: Kernel | None, seed: int
) -> Accumulated:
    """The estimate of densities at some rows, without samples so far.

    Args:
        x: The rows.
        spec: Spec of the estimator.
        kernel: Of the estimator `kernel`; None for the others.
        seed: Of what fits draw at random.
    """
    if spec.estimator == "flow":
        return FittedFlows(x, seed)
    if kernel is not None:
        return KernelSums(kernel, x)
    return Balls(x, neighbours_for(spec.tolerance / MOST_HAVE))


def require_density_space(
    data: Prepared, support: Support | None, spec: SampledLikelihoodSpec
) -> None:
    """Try the space of densities on a few observations; not that of an encoder.

    Raises:
        EmbeddingError: It cannot be had for these observations, or has no such density.
    """
    if isinstance(spec.space, EncoderSpaceSpec):
        return
    if isinstance(spec.space, ValuesSpaceSpec) and support == "levels":
        raise EmbeddingError(
            "'values' is for real numbers, binary pixels and a table's columns, not for integer "
            "levels; take 'pixels', 'principal' or a space of your own"
        )
    if spec.estimator != "kernel" and space_categories(data, support, spec):
        raise EmbeddingError(
            f"estimator {spec.estimator!r} is for numbers, and some values are categories; take "
            "'kernel', or a space of numbers"
        )
    space = feature_space(data, support, spec.space, nn.Identity)
    space.observed(np.arange(min(TRIED, len(data))))


def space_categories(
    data: Prepared, support: Support | None, spec: SampledLikelihoodSpec
) -> tuple[int, ...]:
    """Numbers of categories of the columns of a space that are no numbers."""
    if not isinstance(spec.space, ValuesSpaceSpec):
        return ()
    if data.columns is not None:
        return tuple(category_counts(data.columns))
    return (2,) * int(np.prod(data.shape)) if support == "binary" else ()


def _space(
    data: Prepared, model: ModelSpec, spec: SampledLikelihoodSpec, encoder: Weights | None
) -> FeatureSpace:
    return feature_space(
        data,
        model.support,
        spec.space,
        lambda: loaded_model(encoder or {}, model, data.shape).to(default_device()),
    )


def _drawing(
    model: nn.Module, space: FeatureSpace, units: Units, seed: int
) -> Callable[[int], Rows]:
    generator = torch.Generator().manual_seed(seed)
    generative = cast(Generative, model)
    return lambda count: units.rows(space.sampled(draw_further(generative, count, generator)))
