"""log p of observations as samples tell it that models drew elsewhere."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from memo.datasets.prepared import Prepared
from memo.design.k_fold import IndexArray
from memo.errors import InputError
from memo.experiments.sampled.feature_space import FeatureSpace, Values, feature_space
from memo.experiments.sampled.sampled_density import (
    ASIDE,
    LEARNED_FROM,
    density_at,
    require_density_space,
    space_categories,
)
from memo.likelihood.importance_weights import LogLikelihood
from memo.samples.density.kernel import Kernel, fitted_kernel
from memo.samples.density.rounds import PIECE
from memo.samples.density.units import Units
from memo.spec.base import Support
from memo.spec.sample_specs import EncoderSpaceSpec
from memo.spec.sampled_likelihood_specs import SampledLikelihoodSpec, ValuesSpaceSpec
from memo.training.device import one_thread

KEPT = 10
"""Times as many samples a model has at least as are kept of them."""

FEWEST_SAMPLES = 1000
"""Samples of a model from which a density is estimated at all."""


@dataclass
class OutsideSamples:
    """Samples of models that were trained elsewhere, looked through once.

    Args:
        data: The observations.
        support: Values that densities of these are defined on.
        spec: Spec of the estimator.
        sources: Gives each model's samples, by its name, in the space of `data.scored`.
        aside: Samples of each model to keep for tests, which no density is estimated from.
        advance: Told of each model that was looked through, and of each that is scored.

    Raises:
        InputError: The space cannot be had of such samples, or a model has too few samples.
    """

    data: Prepared
    support: Support
    spec: SampledLikelihoodSpec
    sources: Mapping[str, Callable[[], Values]]
    aside: int = 0
    advance: Callable[[int], object] = lambda done: None
    counts: dict[str, int] = field(init=False, default_factory=dict)
    """Number of samples of each model."""
    records_alone: list[str] = field(init=False, default_factory=list)
    """Models all of whose samples equal observations."""
    kept: dict[str, Values] = field(init=False, default_factory=dict)
    """Samples of each model that no density is estimated from, once it is scored."""

    def __post_init__(self) -> None:
        if isinstance(self.spec.space, EncoderSpaceSpec):
            raise InputError("space 'encoder' is that of a model that memo trained; take another")
        require_density_space(self.data, self.support, self.spec)
        categories = space_categories(self.data, self.support, self.spec)
        with one_thread():
            observed = self._space.observed(np.arange(len(self.data)))
            self._units = Units.of(observed, categories)
            self._x = self._units.rows(observed)
            self._kernel = self._look_through(observed, categories)

    @property
    def count(self) -> int:
        """Samples of each model that densities are estimated from: as many as all have."""
        return min(self.spec.max_samples, min(self.counts.values()) - self.kept_of_each)

    @property
    def kept_of_each(self) -> int:
        """Samples of each model that are kept: what was asked for, at most a tenth of all."""
        return min(self.aside, min(self.counts.values()) // KEPT)

    @property
    def dimensions(self) -> int:
        """Columns that densities are over."""
        return self._units.dimensions + self.categories

    @property
    def categories(self) -> int:
        """Number of those that are categories."""
        return len(self._units.categories)

    def log_likelihoods(self) -> Iterator[tuple[str, LogLikelihood]]:
        """log p of all observations under each model, by its name; nats, in the space of the spec.

        Of values, in the space of the original ones.
        """
        of_values = isinstance(self.spec.space, ValuesSpaceSpec)
        for name in self.sources:
            with one_thread():
                values = self._read(name)
                order = shuffled(len(values))
                self.kept[name] = values[np.sort(order[len(order) - self.kept_of_each :])]
                taken = values[np.sort(order[: self.count])]
                rows = self._units.rows(self._space.sampled(taken))
                density = density_at(self._x, self.spec, self._kernel, seed=0)
                for start in range(0, len(rows), PIECE):
                    density.add(rows.part(slice(start, start + PIECE)))
                found = density.estimates().shifted(-self._units.log_volume)
            own = self.data.to_original(found.value) if of_values else found.value
            yield name, replace(found, value=own)
            self.advance(1)

    @property
    def _space(self) -> FeatureSpace:
        return feature_space(self.data, self.support, self.spec.space, nn.Identity)

    def _look_through(self, observed: Tensor, categories: tuple[int, ...]) -> Kernel | None:
        """Read all samples, count them, and choose the bandwidth by some of each model's."""
        known = {row.tobytes() for row in observed.numpy()}
        share = -(-(ASIDE + LEARNED_FROM) // len(self.sources))
        some: list[Tensor] = []
        for name, read in self.sources.items():
            values = read()
            self.counts[name] = len(values)
            if len(values) < FEWEST_SAMPLES:
                raise InputError(
                    f"model {name!r}: has {len(values):,} samples; densities take "
                    f"{FEWEST_SAMPLES:,} or more of each model"
                )
            # what may be kept for tests has no part in the bandwidth either
            used = shuffled(len(values))[: len(values) - min(self.aside, len(values) // KEPT)]
            mapped = self._space.sampled(values[np.sort(used[:share])])
            if all(row.tobytes() in known for row in mapped.numpy()):
                self.records_alone.append(name)
            some.append(mapped)
            self.advance(1)
        if self.spec.estimator != "kernel":
            return None
        order = torch.from_numpy(np.random.default_rng(0).permutation(sum(map(len, some))))
        rows = self._units.rows(torch.cat(some)[order])
        others = rows.part(slice(ASIDE, ASIDE + min(LEARNED_FROM, self.count)))
        return fitted_kernel(rows.part(slice(ASIDE)), others, categories, self.count)

    def _read(self, name: str) -> Values:
        values = self.sources[name]()
        if len(values) != self.counts[name]:
            raise InputError(f"model {name!r}: its file has changed while it was read")
        return values


def shuffled(there: int) -> IndexArray:
    """Places of samples in random order, the same of equally many."""
    return np.random.default_rng(0).permutation(there)
