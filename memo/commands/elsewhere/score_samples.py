"""Samples of models that were trained elsewhere -> log-likelihoods, scores and a report."""

import io
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from memo.artifacts.files import write_whole
from memo.artifacts.layout import Layout
from memo.artifacts.likelihood_tables import read_training_sets
from memo.commands.elsewhere.outside_tests import (
    TABLE,
    run_outside_tests,
    space_of_tests,
    wanted_of_each,
)
from memo.commands.elsewhere.score_table import (
    Estimated,
    TableScores,
    of_dataset,
    score_table,
    with_index,
)
from memo.commands.elsewhere.settings import settings_in, validated
from memo.datasets.arrays import support_of
from memo.datasets.elsewhere.sample_sources import require_models, sample_sources
from memo.datasets.prepared import Prepared
from memo.errors import InputError
from memo.experiments.doubts import Doubt, dimension_doubts
from memo.experiments.sampled.outside_density import OutsideSamples
from memo.experiments.sampled.words import about_estimate, in_another_space, named_space
from memo.likelihood.importance_weights import LogLikelihood
from memo.pipeline.neighbors import importable
from memo.pipeline.prepare import read_prepared
from memo.pipeline.progress import progress
from memo.samples.spaces import EmbeddingError
from memo.scores.aggregate import Method
from memo.spec.sample_specs import NeighborsSpec
from memo.spec.sampled_likelihood_specs import SampledLikelihoodSpec


def score_samples(
    samples: Path,
    trained_on: Path,
    layout: Layout,
    name: str,
    method: Method,
    dataset: str,
    likelihood: SampledLikelihoodSpec,
    neighbors: NeighborsSpec,
) -> TableScores:
    """Estimate log p of every observation from samples of each model, and score them.

    The log-likelihoods are written as a table that `memo score --from` reads.

    Args:
        samples: A table with a column `model`, or a folder with a file or folder for each model.
        trained_on: The table of training sets; see `read_training_sets`.
        layout: Where files lie.
        name: What the scores are called.
        method: How densities are averaged.
        dataset: Name of the prepared data set that the models were trained on parts of.
        likelihood: How log p is estimated.
        neighbors: Which tests on samples run, and how.

    Raises:
        InputError: A table or a file of samples is wrong, or models and samples do not match.
        ArtifactError: The data set is not prepared, or damaged, or a file cannot be written.
    """
    data, data_hash = read_prepared(layout, dataset)
    sets = _training_sets(trained_on, dataset, data, data_hash)
    names = sets["model"].unique(maintain_order=True).to_list()
    sources = sample_sources(samples, data)
    require_models(samples, sources, names, trained_on)
    wanted = wanted_of_each(neighbors, len(data))
    with importable(layout.root):
        space = space_of_tests(data, neighbors)
        with progress(f"{name}: models read", 2 * len(names)) as advance:
            own = {one: sources[one] for one in names}
            try:
                drawn = OutsideSamples(data, support_of(data), likelihood, own, wanted, advance)
                _require_enough(drawn, neighbors)
                estimates = dict(drawn.log_likelihoods())
            except EmbeddingError as error:
                raise EmbeddingError(f"likelihood: space: {error}") from None
        tests = run_outside_tests(name, data, neighbors, space, sets, drawn.kept)
    table = pl.concat(_rows(sets, one, found, likelihood) for one, found in estimates.items())
    content = io.BytesIO()
    table.write_parquet(content, compression="zstd")
    file = layout.log_likelihoods(name) / TABLE
    write_whole(file, content.getvalue())
    trained = "The models were trained elsewhere"
    told = Estimated(
        {"Samples": f"{samples.name}: {drawn.count:,} of each of {len(names):,} models"},
        about_estimate(likelihood, trained, drawn.dimensions, drawn.categories),
        named_space(likelihood.space),
        tests,
        list(_doubts(drawn)),
        not in_another_space(likelihood),
        f"memo score {name} --samples {samples.name}",
    )
    return score_table(file, layout, name, method, dataset, told)


def read_neighbors(text: str | None) -> NeighborsSpec:
    """Settings of the tests on samples, written in YAML as under `scoring.neighbors`.

    Raises:
        InputError: They are not such settings.
    """
    return validated(NeighborsSpec, settings_in(text or "{}", "--neighbors"), "--neighbors")


def read_likelihood(text: str | None) -> SampledLikelihoodSpec:
    """Settings of the estimate, written in YAML as under `scoring.likelihood`.

    Raises:
        InputError: They are not such settings.

    Example:
        >>> read_likelihood("{space: {kind: principal, components: 3}}").space.components
        3
    """
    given = {"kind": "samples"} | settings_in(text or "{}", "--likelihood")
    return validated(SampledLikelihoodSpec, given, "--likelihood")


def _require_enough(drawn: OutsideSamples, neighbors: NeighborsSpec) -> None:
    """See that as many samples of each model can be kept for tests as were asked for."""
    if neighbors.samples is not None and drawn.kept_of_each < neighbors.samples:
        few = min(drawn.counts, key=drawn.counts.__getitem__)
        raise InputError(
            f"--neighbors: samples: {neighbors.samples:,} are more than a tenth of the "
            f"{drawn.counts[few]:,} samples of model {few!r}, and the others are for log p"
        )


def _training_sets(file: Path, dataset: str, data: Prepared, data_hash: str) -> pl.DataFrame:
    """The models' training sets by indices: `model`, `index`, `in_training`, maybe `block`.

    Without a column `in_training`, rows name observations in training, and all others are not.
    """
    rows = read_training_sets(file)
    rows = with_index(file, rows, of_dataset(file, rows, dataset, data, data_hash))
    block = [name for name in ("block",) if name in rows.columns]
    if "in_training" not in rows.columns:
        models = rows.select("model", *block).unique(maintain_order=True)
        everything = data.observations.select("index")
        inside = rows.select("model", "index", in_training=pl.lit(True))
        rows = models.join(everything, how="cross").join(inside, on=["model", "index"], how="left")
        rows = rows.with_columns(pl.col("in_training").fill_null(False))
    return rows.select("model", *block, "index", "in_training")


def _rows(
    sets: pl.DataFrame, model: str, found: LogLikelihood, likelihood: SampledLikelihoodSpec
) -> pl.DataFrame:
    own = sets.filter(pl.col("model") == model)
    index = own["index"].to_numpy()
    return own.with_columns(
        log_likelihood=pl.Series(found.value[index]),
        std_error=pl.Series(found.std_error[index]),
        unreliable=pl.Series(found.unreliable(likelihood.tolerance)[index]),
    )


def _doubts(drawn: OutsideSamples) -> Iterator[Doubt]:
    fewest, most = min(drawn.counts.values()), max(drawn.counts.values())
    if fewest < most:
        few = min(drawn.counts, key=drawn.counts.__getitem__)
        yield Doubt(
            "samples-unequal",
            f"Models have from {fewest:,} ({few}) to {most:,} samples. Log p is estimated from "
            f"{drawn.count:,} of each, drawn at random, so that errors of unequal numbers are no "
            "difference between models.",
        )
    if drawn.records_alone:
        some = ", ".join(drawn.records_alone[:3])
        yield Doubt(
            "samples-are-records",
            f"All samples of {len(drawn.records_alone):,} models ({some}) that were looked at are "
            "records of the data set, exactly. Either the models draw nothing else, or the "
            "training data were given for samples.",
        )
    yield from dimension_doubts(drawn.dimensions, drawn.spec)
