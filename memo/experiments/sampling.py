"""Samples of an experiment's models, and what tests on samples say of the observations."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import polars as pl
from torch import nn

from memo.artifacts.fingerprints import NEIGHBORS_VERSION, SAMPLES_VERSION, fingerprint
from memo.design.seeds import Stream, seed_sequence, substreams, torch_seed
from memo.errors import InputError, WorkError
from memo.experiments.experiment import Experiment, ModelPlan
from memo.experiments.sampled.feature_space import FeatureSpace, Values, feature_space
from memo.models.protocols import Generative
from memo.models.state import loaded_model
from memo.samples.drawing import draw_samples
from memo.samples.extraction import extraction
from memo.samples.interface import Observations
from memo.samples.registered import SCHEMA, TESTS
from memo.samples.spaces import EmbeddingError
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
    experiment: Experiment, planned: PlannedSamples, weights: Weights
) -> Values | None:
    """Draw from a model at the last scored epoch, in the space of its values.

    Args:
        experiment: Whose model it is.
        planned: Which model, and how many samples.
        weights: Its weights at that epoch.

    Returns:
        (count, *shape); None of a model that cannot be sampled from.

    Raises:
        WorkError: Samples are not finite.
    """
    model = _model(experiment, weights)
    if not isinstance(model, Generative):
        return None
    fold = planned.model.fold
    position = () if fold is None else (fold.repeat, fold.fold)
    draws, _ = substreams(seed_sequence(experiment.spec.seed, Stream.SAMPLES, *position), 2)
    try:
        source = source_of(experiment.spec.model)
        with one_thread(), errors_of(source, "sample(count, generator)"):
            return draw_samples(model, planned.count, torch_seed(draws))
    except WorkError as error:
        raise WorkError(f"experiment {experiment.name}, {planned.model.words}: {error}") from None


def run_tests(
    experiment: Experiment,
    samples: Values | None,
    weights: Callable[[], Weights],
    advance: Callable[[int], object] = lambda done: None,
    of_folds: Iterable[Values] = (),
) -> pl.DataFrame:
    """Run every test on samples of the full model, in the space that the spec names.

    Replicas are looked for among the samples of fold models, too.

    Args:
        experiment: Whose samples they are.
        samples: In the space of the model's values; None of a model that cannot be sampled from.
        weights: Gives the full model's weights at the last scored epoch, for the encoder's space.
        advance: Told how many observations each test has done, and the search for replicas among
            each model's samples.
        of_folds: Samples of each fold model, in the order of `experiment.models`; none where they
            are not sampled from.

    Returns:
        One row for each observation, columns as in `memo.samples.registered.SCHEMA`; without
        samples no rows.

    Raises:
        InputError: The space cannot be had for these observations.
    """
    if samples is None:
        return pl.DataFrame(schema=SCHEMA)
    with _errors_of_space(experiment):
        space = _space(experiment, weights)
        rows = space.sampled(samples[: tested_samples(experiment)])
        everything = Observations(np.arange(len(experiment.data)), space.observed)
        _, order = substreams(seed_sequence(experiment.spec.seed, Stream.SAMPLES), 2)
        table = pl.DataFrame({"index": everything.index})
        for test in TESTS:
            stream = np.random.Generator(np.random.PCG64(order))
            found = test.run(rows, everything, None, stream, advance)
            table = table.join(found, on="index", how="left", maintain_order="left")
        found = extraction(
            space.sampled(samples),
            everything,
            map(space.sampled, of_folds),
            experiment.spec.scoring.neighbors.replica,
            default_device(),
            advance,
        )
        table = table.join(found, on="index", how="left", maintain_order="left")
    return table.select(*SCHEMA)


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
            "tests": [test.name for test in TESTS],
            "folds": [one.fingerprint for one in planned_folds(experiment)],
            "version": NEIGHBORS_VERSION,
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


def _model(experiment: Experiment, weights: Weights) -> nn.Module:
    model = loaded_model(weights, experiment.spec.model, experiment.data.shape)
    return model.to(default_device())


def _space(experiment: Experiment, weights: Callable[[], Weights]) -> FeatureSpace:
    return feature_space(
        experiment.data,
        experiment.spec.model,
        experiment.spec.scoring.neighbors.space,
        weights,
    )
