"""Samples of an experiment's models, and what tests on samples say of the observations."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from memo.artifacts.fingerprints import NEIGHBORS_VERSION, SAMPLES_VERSION, fingerprint
from memo.design.seeds import Stream, seed_sequence, substreams, torch_seed
from memo.errors import InputError, WorkError
from memo.experiments.experiment import Experiment, ModelPlan
from memo.experiments.sampled.feature_space import (
    FeatureSpace,
    Values,
    feature_space,
    space_determinants,
)
from memo.models.protocols import Generative
from memo.models.state import loaded_model
from memo.samples.compared import Compared, Observations
from memo.samples.drawing import draw_samples
from memo.samples.extraction import extraction
from memo.samples.interface import SampleTest
from memo.samples.on_folds import FoldSamples, OnFolds, run_on_folds
from memo.samples.registered import chosen_tests, schema_of
from memo.samples.spaces import EmbeddingError
from memo.scores.seen.fold_numbers import FoldNumbers
from memo.spec.model_specs import source_of
from memo.spec.sample_specs import EncoderSpaceSpec
from memo.spec.user_code import errors_of
from memo.training.device import default_device, one_thread
from memo.training.stack import Weights

TRIED = 8
"""Observations that a space is tried on."""


@dataclass(frozen=True)
class PlannedSamples:
    """Samples to be drawn from one model."""

    model: ModelPlan
    count: int
    fingerprint: str
    """A hash of everything that determines the samples."""


def planned_samples(experiment: Experiment) -> list[PlannedSamples]:
    """Samples of the full model and, where the spec asks for them, of each fold model.

    Raises:
        InputError: The tests on samples ask for more than the full model draws, or for more than
            half as many as there are observations.
    """
    spec = experiment.spec.scoring.samples
    tested = tested_samples(experiment)
    full = tested if spec.full_model is None else spec.full_model
    if full < tested:
        raise InputError(
            f"experiments.{experiment.name}.scoring.samples.full_model: {full} samples are fewer "
            f"than the {tested} that scoring.neighbors compares with"
        )
    counts = [
        (model, full if model.fold is None else spec.fold_models) for model in experiment.models
    ]
    return [_planned(experiment, model, count) for model, count in counts if count]


def planned_folds(experiment: Experiment) -> list[PlannedSamples]:
    """Samples of fold models alone, all of them or none, in the order of `experiment.models`.

    Raises:
        InputError: As `planned_samples`.
    """
    return [one for one in planned_samples(experiment) if one.model.fold is not None]


def tested_samples(experiment: Experiment) -> int:
    """Count the samples that each observation is compared with.

    Raises:
        InputError: They are more than half as many as there are observations.
    """
    observations = len(experiment.data)
    count = experiment.spec.scoring.neighbors.sample_count(observations)
    if 2 * count > observations:
        raise InputError(
            f"experiments.{experiment.name}.scoring.neighbors.samples: {count} samples are more "
            f"than half of the {observations} observations of data set {experiment.spec.dataset!r}"
        )
    return count


def sample_model(
    experiment: Experiment,
    planned: PlannedSamples,
    weights: Weights,
    advance: Callable[[int], object] = lambda done: None,
) -> Values | None:
    """Draw from a model at the last scored epoch, in the space of its values.

    Args:
        experiment: Whose model it is.
        planned: Which model, and how many samples.
        weights: Its weights at that epoch.
        advance: Told how many more are drawn.

    Returns:
        (count, *shape); None of a model that cannot be sampled from.

    Raises:
        WorkError: Samples are not finite.
    """
    model = _model(experiment, weights)
    if not isinstance(model, Generative):
        return None
    draws, _ = _seeds(experiment, planned)
    try:
        source = source_of(experiment.spec.model)
        with one_thread(), errors_of(source, "sample(count, generator)"):
            return draw_samples(model, planned.count, torch_seed(draws), advance)
    except WorkError as error:
        raise WorkError(f"experiment {experiment.name}, {planned.model.words}: {error}") from None


def tests_of(experiment: Experiment) -> list[SampleTest]:
    """The tests on samples that the spec asks for."""
    return chosen_tests(experiment.spec.scoring.neighbors.tests)


def run_tests(
    experiment: Experiment,
    samples: Values | None,
    weights: Callable[[], Weights],
    of_folds: Callable[[], Iterable[Values]],
    advance: Callable[[int], object] = lambda done: None,
) -> tuple[pl.DataFrame, FoldNumbers]:
    """Run every test on samples, in the space that the spec names.

    What each test says of each observation is of samples of the full model. Numbers, and ranks in
    single repeats, are of samples of fold models, among which replicas are looked for, too.

    Args:
        experiment: Whose samples they are.
        samples: Of the full model, in the space of its values; None of a model that cannot be
            sampled from.
        weights: Gives the full model's weights at the last scored epoch, for the encoder's space.
        of_folds: Gives samples of each fold model, in the order of `experiment.models`; none where
            they are not sampled from.
        advance: Told how many observations each test has done, the search for replicas among each
            model's samples, and the tests on each fold model.

    Returns:
        One row for each observation, columns as `memo.samples.registered.schema_of` the tests;
        without samples no rows. Then the numbers.

    Raises:
        InputError: The space cannot be had for these observations.
    """
    tests = tests_of(experiment)
    if samples is None:
        missing = FoldNumbers(missing="the model cannot be sampled from")
        return pl.DataFrame(schema=schema_of(tests)), missing
    with _errors_of_space(experiment), one_thread():
        space = _space(experiment, weights)
        everything = Observations(np.arange(len(experiment.data)), space.observed)
        rows = space.sampled(samples[: tested_samples(experiment)])
        columns = _of_records(experiment, rows, everything, advance)
        replicas = extraction(
            space.sampled(samples),
            everything,
            map(space.sampled, of_folds()),
            experiment.spec.scoring.neighbors.replica,
            default_device(),
            advance,
        )
        on_folds = _on_folds(experiment, space, of_folds, advance)
    for test in tests:
        if test.records is not None:
            ranks = on_folds.ranks.get(test.name)
            by_repeat = [None] * len(everything) if ranks is None else ranks.T.tolist()
            columns[test.records.by_repeat] = pl.Series(by_repeat, dtype=pl.List(pl.Float64))
    table = pl.concat([pl.DataFrame(columns), replicas.drop("index")], how="horizontal")
    return table.select(*schema_of(tests)), on_folds.numbers


def _of_records(
    experiment: Experiment,
    samples: Tensor,
    everything: Observations,
    advance: Callable[[int], object],
) -> dict[str, Any]:
    """Values that tests on the full model's samples give to each observation, by columns."""
    compared = Compared(samples, everything, device=default_device())
    _, order = substreams(seed_sequence(experiment.spec.seed, Stream.SAMPLES), 2)
    columns: dict[str, Any] = {"index": everything.index}
    for test in tests_of(experiment):
        if test.records is not None:
            columns |= test.records.find(compared, np.random.Generator(np.random.PCG64(order)))
            advance(len(everything))
    return columns


def _on_folds(
    experiment: Experiment,
    space: FeatureSpace,
    of_folds: Callable[[], Iterable[Values]],
    advance: Callable[[int], object],
) -> OnFolds:
    """Run all tests on fold models; what mitigations leave out of training is on neither side."""
    planned = planned_folds(experiment)
    if not planned:
        return OnFolds(FoldNumbers(missing=_no_folds(experiment)), {})
    rows = space.observed(np.arange(len(experiment.data)))
    everything = Observations(np.arange(len(rows)), lambda index: rows[torch.from_numpy(index)])
    trained_on = experiment.full_model.members

    def folds() -> Iterator[FoldSamples]:
        for one, samples in zip(planned, of_folds(), strict=True):
            _, seed = _seeds(experiment, one)
            held_out = np.intersect1d(one.model.held_out, trained_on)
            yield FoldSamples(
                space.sampled(samples), one.model.members, held_out, one.model.repeat or 0, seed
            )
            advance(len(everything))

    return run_on_folds(tests_of(experiment), everything, folds(), default_device())


def _no_folds(experiment: Experiment) -> str:
    if not experiment.design.fold_models:
        return (
            "the design trains no fold models, whose samples would tell; set scoring.design: "
            "{kind: k-fold} and scoring.samples.fold_models"
        )
    return (
        "fold models were not sampled from; set scoring.samples.fold_models, to "
        f"{tested_samples(experiment)} for example, and run dvc repro"
    )


@contextmanager
def _errors_of_space(experiment: Experiment) -> Iterator[None]:
    try:
        yield
    except EmbeddingError as error:
        raise EmbeddingError(
            f"experiments.{experiment.name}.scoring.neighbors.space: {error}"
        ) from error


def require_space(experiment: Experiment) -> None:
    """Try the space of the tests on samples on a few observations; not that of an encoder.

    Raises:
        EmbeddingError: It cannot be had for these observations.
    """
    if not isinstance(experiment.spec.scoring.neighbors.space, EncoderSpaceSpec):
        with _errors_of_space(experiment):
            _space(experiment, dict).observed(np.arange(min(TRIED, len(experiment.data))))


def tests_fingerprint(experiment: Experiment) -> str:
    """A hash of everything that determines the table of `run_tests`."""
    return fingerprint(
        {
            "full": experiment.full_model.fingerprint,
            "epoch": experiment.last_epoch,
            "samples": experiment.spec.scoring.samples.model_dump(),
            "neighbors": experiment.spec.scoring.neighbors.model_dump(),
            "tests": [test.name for test in tests_of(experiment)],
            "folds": [one.fingerprint for one in planned_folds(experiment)],
            "version": NEIGHBORS_VERSION,
            **space_determinants(experiment.spec.scoring.neighbors.space),
        }
    )


def _planned(experiment: Experiment, model: ModelPlan, count: int) -> PlannedSamples:
    determinants = {
        "model": model.fingerprint,
        "epoch": experiment.last_epoch,
        "count": count,
        "version": SAMPLES_VERSION,
    }
    return PlannedSamples(model, count, fingerprint(determinants))


def _seeds(experiment: Experiment, planned: PlannedSamples) -> list[np.random.SeedSequence]:
    """Seeds of a model's samples, and of the tests on them."""
    fold = planned.model.fold
    position = () if fold is None else (fold.repeat, fold.fold)
    return substreams(seed_sequence(experiment.spec.seed, Stream.SAMPLES, *position), 2)


def _model(experiment: Experiment, weights: Weights) -> nn.Module:
    model = loaded_model(weights, experiment.spec.model, experiment.data.shape)
    return model.to(default_device())


def _space(experiment: Experiment, weights: Callable[[], Weights]) -> FeatureSpace:
    return feature_space(
        experiment.data,
        experiment.spec.model.support,
        experiment.spec.scoring.neighbors.space,
        lambda: _model(experiment, weights()),
    )
