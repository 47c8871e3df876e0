"""Tests on samples of models that were trained elsewhere: run, kept beside scores, read again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from torch import nn

from memo.artifacts.files import ArtifactError
from memo.artifacts.fingerprints import NEIGHBORS_VERSION, fingerprint
from memo.artifacts.layout import Layout
from memo.artifacts.likelihood_tables import read_likelihoods
from memo.artifacts.neighbor_files import NeighborFile
from memo.artifacts.score_tables import read_scores_file
from memo.commands.elsewhere.table_models import models_of
from memo.datasets.arrays import support_of
from memo.datasets.prepared import Prepared
from memo.design.seeds import Stream, seed_sequence, substreams
from memo.errors import InputError
from memo.experiments.sampled.feature_space import (
    FeatureSpace,
    Values,
    feature_space,
    space_determinants,
)
from memo.experiments.sampled.sampled_models import SampledModels, TrainedWithout, run_on_models
from memo.pipeline.prepare import read_prepared
from memo.pipeline.progress import progress
from memo.pipeline.stored_experiment import made_by
from memo.samples.on_folds import FEWEST
from memo.samples.registered import NULLABLE, schema_of
from memo.samples.spaces import EmbeddingError
from memo.scores.seen.fold_numbers import FoldNumbers
from memo.scores.table import Scores
from memo.spec.sample_specs import EncoderSpaceSpec, NeighborsSpec

TABLE = "samples.parquet"
"""The table of log-likelihoods that samples gave, which names training sets, too."""

TESTED = "tests"
"""The fact beside scores that tells how tests on samples were run, as JSON."""

TRIED = 8
"""Observations that the space is tried on."""


@dataclass(frozen=True)
class OutsideTests:
    """Results of tests on samples of models that were trained elsewhere."""

    models: SampledModels
    samples: Values
    """Samples of all models together, which observations are compared with."""
    table: pl.DataFrame
    numbers: FoldNumbers
    facts: dict[str, Any]
    """Settings and numbers of samples, and a digest of these, as plain JSON."""

    def write(self, layout: Layout, name: str) -> None:
        """Write them as the stage `neighbors` writes those of an experiment.

        Raises:
            ArtifactError: The file cannot be written.
        """
        _file(layout, name, self.models, self.facts).write(self.table, self.numbers)


class StoredTests(NamedTuple):
    """The same as they lie beside scores."""

    models: SampledModels
    table: pl.DataFrame
    numbers: FoldNumbers
    scores: Scores


def wanted_of_each(spec: NeighborsSpec, observations: int) -> int:
    """Number of samples of each model that tests should have: as many as records are compared with.

    Raises:
        InputError: The spec asks for more than half as many as there are observations.

    Example:
        >>> wanted_of_each(NeighborsSpec(), 1000), wanted_of_each(NeighborsSpec(), 90)
        (100, 20)
    """
    count = spec.sample_count(observations)
    if 2 * count > observations:
        raise InputError(
            f"--neighbors: samples: {count} samples are more than half of the {observations} "
            "observations"
        )
    return max(FEWEST, count)


def space_of_tests(data: Prepared, spec: NeighborsSpec) -> FeatureSpace:
    """The space of distances, tried on a few observations.

    Raises:
        InputError: It cannot be had for these observations, or of models that memo did not train.
    """
    if isinstance(spec.space, EncoderSpaceSpec):
        raise InputError(
            "--neighbors: space: 'encoder' is that of a model that memo trained; take another"
        )
    try:
        space = feature_space(data, support_of(data), spec.space, nn.Identity)
        space.observed(np.arange(min(TRIED, len(data))))
    except EmbeddingError as error:
        raise EmbeddingError(f"--neighbors: space: {error}") from error
    return space


def run_outside_tests(
    name: str,
    data: Prepared,
    spec: NeighborsSpec,
    space: FeatureSpace,
    sets: pl.DataFrame,
    samples: Mapping[str, Values],
) -> OutsideTests:
    """Run all tests: numbers on the samples of each model, values of records on some of all.

    Args:
        name: What the scores are called.
        data: The observations.
        spec: Which tests, and how.
        space: The space of distances.
        sets: `model`, `index`, `in_training`, maybe `block`: the models' training sets.
        samples: As many of each model, by its name, in the space of `data.scored`.
    """
    names = models_of(sets).sort("place")["model"].to_list()
    of_models = [samples[name] for name in names]
    digest = hashlib.sha256()
    for values in of_models:
        digest.update(np.ascontiguousarray(values).tobytes())
    facts = {
        "neighbors": spec.model_dump(mode="json"),
        "of_each": len(of_models[0]),
        "compared": min(spec.sample_count(len(data)), len(names) * len(of_models[0])),
        "samples": digest.hexdigest(),
    }
    models = _models(data, sets, facts)
    together = pooled(of_models, models.compared)
    with progress(f"{name}: observations compared", models.work) as advance:
        table, numbers = run_on_models(models, space, together, lambda: of_models, advance)
    return OutsideTests(models, together, table, numbers, facts)


def pooled(of_models: Sequence[Values], count: int) -> Values:
    """Some samples of all models together, in random order: of each as many, but for one.

    Example:
        >>> pooled([np.zeros(4), np.ones(4)], 6).mean()
        np.float64(0.5)
    """
    stream = np.random.default_rng(0)
    share = -(-count // len(of_models))
    some = [values[stream.permutation(len(values))[:share]] for values in of_models]
    # the models that one more is taken of are no particular ones
    turns = np.concatenate([stream.permutation(len(some)) for _ in range(share)])[:count]
    taken = np.bincount(turns, minlength=len(some))
    together = np.concatenate([values[:n] for values, n in zip(some, taken, strict=True)])
    return together[stream.permutation(len(together))]


def read_outside_tests(layout: Layout, name: str) -> StoredTests:
    """Read what `memo score NAME --samples` has found.

    Raises:
        InputError: The scores are not of samples.
        ArtifactError: A file is missing, damaged, or of other samples.
    """
    with made_by(f"memo score {name} --samples FOLDER"):
        scores = read_scores_file(layout.scores(name))
        try:
            facts = json.loads(scores.facts.get(TESTED, "null"))
        except json.JSONDecodeError:
            raise ArtifactError(f"{layout.scores(name)}: was not written by memo") from None
        if facts is None:
            raise InputError(
                f"{name}: was scored from a table of log-likelihoods; tests are on samples, as "
                f"memo score {name} --samples takes them"
            )
        data, data_hash = read_prepared(layout, scores.facts["dataset"])
        if data_hash != scores.facts["data"]:
            raise ArtifactError(f"{layout.scores(name)}: is of other data")
        sets = read_likelihoods(layout.log_likelihoods(name) / TABLE)
        models = _models(data, sets, facts)
        table, numbers = _file(layout, name, models, facts).read_all()
    return StoredTests(models, table, numbers, scores)


def with_tests(layout: Layout, names: Sequence[str]) -> list[str]:
    """Those of the scores from elsewhere that are of samples.

    Raises:
        ArtifactError: Scores are damaged.
    """
    return [name for name in names if TESTED in read_scores_file(layout.scores(name)).facts]


def _models(data: Prepared, sets: pl.DataFrame, facts: Mapping[str, Any]) -> SampledModels:
    """The models, with the records on both sides of each that were on either side of some.

    Others, as those that all models were trained on, were chosen by somebody and not by chance.
    """
    inside, outside = (
        sets.filter(pl.col("in_training") == side)["index"].unique().to_numpy()
        for side in (True, False)
    )
    both = np.intersect1d(inside, outside)
    folds = []
    for name, place, repeat in (
        models_of(sets).select("model", "place", "block").sort("place").rows()
    ):
        rows = sets.filter(model=name)
        members, held_out = (
            np.intersect1d(rows.filter(in_training=side)["index"].to_numpy(), both)
            for side in (True, False)
        )
        seed = substreams(seed_sequence(0, Stream.SAMPLES, place), 2)[1]
        folds.append(TrainedWithout(members, held_out, repeat, seed))
    return SampledModels(
        data,
        NeighborsSpec.model_validate(facts["neighbors"]),
        "all models together",
        facts["compared"],
        substreams(seed_sequence(0, Stream.SAMPLES), 2)[1],
        folds,
        about=_about(len(data), len(folds), facts),
    )


def _about(observations: int, models: int, facts: Mapping[str, Any]) -> str:
    of_each, compared = facts["of_each"], facts["compared"]
    return (
        f"The {models:,} fold models are those that were trained elsewhere. Of the samples of each "
        f"{of_each:,} are kept for the tests, at random, and log p is estimated from others, so "
        "that scores and tests have no errors in common. There is no model of all records: values "
        f"of records are by {compared:,} of these samples, of all models together, from some of "
        "which each record was held out. (Tests take as many samples as a tenth of the "
        f"{observations:,} records, or as --neighbors says: of each model {FEWEST} or more, and no "
        "more than a tenth of its samples.)"
    )


def _file(
    layout: Layout, name: str, models: SampledModels, facts: Mapping[str, Any]
) -> NeighborFile:
    determinants = {**facts, **space_determinants(models.spec.space), "version": NEIGHBORS_VERSION}
    return NeighborFile(
        layout.neighbors(name),
        fingerprint(determinants),
        schema_of(models.tests),
        NULLABLE,
        observations=len(models.data),
        samples=models.compared,
        models=len(models.folds),
        numbers={test.name: test.numbers for test in models.tests if test.judge is not None},
    )
