"""neighbors: samples of models -> what tests on samples say of each observation."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl

from memo.artifacts.files import ArtifactError
from memo.experiments.sampling import planned_folds, run_tests, sampled_models
from memo.pipeline.progress import progress
from memo.pipeline.stored_experiment import StoredExperiment, exclusive
from memo.spec.sample_specs import CustomSpaceSpec
from memo.training.stack import Weights


@exclusive
def neighbors(experiment: StoredExperiment) -> pl.DataFrame:
    """Run the tests on samples, and write one table of their results.

    The table is read where its fingerprint holds; but not where a feature extractor of the user's
    own is among what determines it. It has no rows for a model that cannot be sampled from.

    Raises:
        ArtifactError: The samples or, for the encoder's space, the full model's file are missing,
            damaged, or from another spec.
        InputError: The space cannot be had for these observations.
    """
    samples = experiment.read_samples()
    file = experiment.neighbor_file(samples)
    if not isinstance(experiment.spec.scoring.neighbors.space, CustomSpaceSpec):
        with suppress(ArtifactError):
            return file.read()

    def weights() -> Weights:
        return experiment.read_weights(experiment.full_model)[experiment.last_epoch]

    folds = planned_folds(experiment)
    total = sampled_models(experiment).work
    with (
        importable(experiment.layout.root),
        progress(f"{experiment.name}: observations compared", total) as advance,
    ):
        table, numbers = run_tests(
            experiment, samples, weights, lambda: map(experiment.read_planned, folds), advance
        )
    file.write(table, numbers)
    return table


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Let modules of a project's own be imported from its folder."""
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)
