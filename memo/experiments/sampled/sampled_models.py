"""Tests on samples of several models: their settings, and their results for each observation."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from memo.datasets.prepared import Prepared
from memo.design.k_fold import IndexArray
from memo.experiments.sampled.feature_space import FeatureSpace, Values
from memo.samples.compared import Compared, Observations
from memo.samples.extraction import extraction
from memo.samples.interface import SampleTest
from memo.samples.on_folds import FoldSamples, OnFolds, run_on_folds
from memo.samples.registered import chosen_tests, schema_of
from memo.scores.seen.fold_numbers import FoldNumbers
from memo.spec.sample_specs import NeighborsSpec
from memo.training.device import default_device, one_thread


@dataclass(frozen=True)
class TrainedWithout:
    """A model that was trained without some of the observations, which chance chose."""

    members: IndexArray
    """Indices of the observations that it was trained on."""
    held_out: IndexArray
    """Indices of those that were held out of it, and that other models were trained on."""
    repeat: int
    seed: np.random.SeedSequence
    """Seed of the tests on its samples."""


@dataclass(frozen=True)
class SampledModels:
    """Models whose samples tests are run on."""

    data: Prepared
    spec: NeighborsSpec
    source: str
    """Origin of the samples that observations are compared with, in words after "samples of"."""
    compared: int
    """Number of these."""
    seed: np.random.SeedSequence
    """Seed of the tests on these."""
    folds: Sequence[TrainedWithout]
    """Models whose samples numbers, ranks in single repeats and the null of replicas are of."""
    no_numbers: str = ""
    """The reason why there are no such models; empty where there are."""
    no_null: str = ""
    """The same in a sentence on replicas."""
    about: str = ""
    """Sentences on where samples come from, for pages; empty where there is nothing to say."""

    @property
    def tests(self) -> list[SampleTest]:
        """The tests on samples that the spec asks for."""
        return chosen_tests(self.spec.tests)

    @property
    def work(self) -> int:
        """Number of observations that `run_on_models` tells of."""
        of_records = sum(test.records is not None for test in self.tests)
        return (of_records + 1 + 2 * len(self.folds)) * len(self.data)


def run_on_models(
    models: SampledModels,
    space: FeatureSpace,
    samples: Values,
    of_folds: Callable[[], Iterable[Values]],
    advance: Callable[[int], object] = lambda done: None,
) -> tuple[pl.DataFrame, FoldNumbers]:
    """Run every test on samples.

    What each test says of each observation is of `samples`. Numbers, and ranks in single repeats,
    are of samples of fold models, among which replicas are looked for, too.

    Args:
        models: Whose samples they are.
        space: The space of distances.
        samples: Of `models.source`, `models.compared` of them or more, in the space of the model's
            values.
        of_folds: Gives samples of each of `models.folds`, in their order.
        advance: Told how many observations each test has done, the search for replicas among each
            model's samples, and the tests on each fold model.

    Returns:
        One row for each observation, columns as `memo.samples.registered.schema_of` the tests; then
        the numbers.
    """
    with one_thread():
        everything = Observations(np.arange(len(models.data)), space.observed)
        rows = space.sampled(samples[: models.compared])
        columns = _of_records(models, rows, everything, advance)
        replicas = extraction(
            space.sampled(samples),
            everything,
            map(space.sampled, of_folds()),
            models.spec.replica,
            default_device(),
            advance,
        )
        on_folds = _on_folds(models, space, of_folds, advance)
    for test in models.tests:
        if test.records is not None:
            ranks = on_folds.ranks.get(test.name)
            by_repeat = [None] * len(everything) if ranks is None else ranks.T.tolist()
            columns[test.records.by_repeat] = pl.Series(by_repeat, dtype=pl.List(pl.Float64))
    table = pl.concat([pl.DataFrame(columns), replicas.drop("index")], how="horizontal")
    return table.select(*schema_of(models.tests)), on_folds.numbers


def _of_records(
    models: SampledModels,
    samples: Tensor,
    everything: Observations,
    advance: Callable[[int], object],
) -> dict[str, Any]:
    """Values that tests give to each observation, by columns."""
    compared = Compared(samples, everything, device=default_device())
    columns: dict[str, Any] = {"index": everything.index}
    for test in models.tests:
        if test.records is not None:
            order = np.random.Generator(np.random.PCG64(models.seed))
            columns |= test.records.find(compared, order)
            advance(len(everything))
    return columns


def _on_folds(
    models: SampledModels,
    space: FeatureSpace,
    of_folds: Callable[[], Iterable[Values]],
    advance: Callable[[int], object],
) -> OnFolds:
    if not models.folds:
        return OnFolds(FoldNumbers(missing=models.no_numbers), {})
    rows = space.observed(np.arange(len(models.data)))
    everything = Observations(np.arange(len(rows)), lambda index: rows[torch.from_numpy(index)])

    def folds() -> Iterator[FoldSamples]:
        for one, samples in zip(models.folds, of_folds(), strict=True):
            drawn = space.sampled(samples)
            yield FoldSamples(drawn, one.members, one.held_out, one.repeat, one.seed)
            advance(len(everything))

    return run_on_folds(models.tests, everything, folds(), default_device())
