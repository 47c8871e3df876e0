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
from memo.experiments.sampled.feature_space import (
    FeatureSpace,
    Values,
    feature_space,
    space_determinants,
)
from memo.experiments.sampled.sampled_models import (
    SampledModels,
    TrainedWithout,
    run_on_models,
)
from memo.models.protocols import Generative
from memo.models.state import loaded_model
from memo.samples.drawing import draw_samples
from memo.samples.interface import SampleTest
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


def sampled_models(experiment: Experiment) -> SampledModels:
    """The models whose samples tests are run on; what mitigations leave out is on neither side.

    Raises:
        InputError: As `planned_samples`.
    """
    planned, trained_on = planned_folds(experiment), experiment.full_model.members
    full = seed_sequence(experiment.spec.seed, Stream.SAMPLES)
    return SampledModels(
        experiment.data,
        experiment.spec.scoring.neighbors,
        sample_source(experiment),
        tested_samples(experiment),
        substreams(full, 2)[1],
        [
            TrainedWithout(
                one.model.members,
                np.intersect1d(one.model.held_out, trained_on),
                one.model.repeat or 0,
                _seeds(experiment, one)[1],
            )
            for one in planned
        ],
        "" if planned else _no_folds(experiment),
        "" if planned else _no_null(experiment),
    )


def sample_source(experiment: Experiment) -> str:
    """Origin of the samples, in words that follow "samples of"."""
    kinds = [m.kind for m in experiment.spec.mitigations if m.of_the_released_density]
    if not kinds:
        return "the full model"
    return f"the full model (not of what {' and '.join(map(repr, kinds))} would release)"


def run_tests(
    experiment: Experiment,
    samples: Values | None,
    weights: Callable[[], Weights],
    of_folds: Callable[[], Iterable[Values]],
    advance: Callable[[int], object] = lambda done: None,
) -> tuple[pl.DataFrame, FoldNumbers]:
    """Run every test on samples, in the space that the spec names.

    Args:
        experiment: Whose samples they are.
        samples: Of the full model, in the space of its values; None of a model that cannot be
            sampled from.
        weights: Gives the full model's weights at the last scored epoch, for the encoder's space.
        of_folds: Gives samples of each fold model, in the order of `experiment.models`; none where
            they are not sampled from.
        advance: See `run_on_models`.

    Returns:
        As `run_on_models`; without samples no rows.

    Raises:
        InputError: The space cannot be had for these observations.
    """
    if samples is None:
        missing = FoldNumbers(missing="the model cannot be sampled from")
        return pl.DataFrame(schema=schema_of(tests_of(experiment))), missing
    models = sampled_models(experiment)
    with _errors_of_space(experiment):
        space = _space(experiment, weights)
        return run_on_models(models, space, samples, of_folds, advance)


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


def _no_null(experiment: Experiment) -> str:
    if not experiment.design.fold_models:
        return (
            "How many records chance would replicate is not known: the design trains no fold "
            "models, whose samples would tell. Set scoring.design: {kind: k-fold} and "
            "scoring.samples.fold_models."
        )
    return (
        "How many records chance would replicate is not known: fold models were not sampled from. "
        f"Set scoring.samples.fold_models, to {experiment.spec.scoring.samples.full_model or 1000} "
        "for example, and run dvc repro."
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
