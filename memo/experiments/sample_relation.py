"""Relations of tests on samples to memorization, for an experiment's report."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.datasets.pictures import sampled_pictures
from memo.experiments.sampled.sampled_models import SampledModels
from memo.experiments.sampled.words import vision_words
from memo.report.charts.binning import highly_memorized
from memo.report.page_data import NeighborData
from memo.report.sampled.sample_test_data import SampleTestData
from memo.samples.interface import SampleTest
from memo.scores.relation import Relation, rank_correlation, relate
from memo.scores.table import Scores
from memo.spec.sample_specs import CustomSpaceSpec, VisionSpaceSpec

NOT_SAMPLED = "The model has no `sample`, so nothing is known of how near its samples come."

_WORDS = {
    "pixels": "pixels",
    "downsampled": "pixels downsampled by a half",
    "encoder": "the space of the encoder",
}


def relations(
    tests: Sequence[SampleTest], table: pl.DataFrame, scores: Scores
) -> dict[str, Relation]:
    """Relate the statistic of each test on samples to memorization at the last scored epoch.

    Args:
        tests: Those that say something of each record count.
        table: Their results, columns as `memo.samples.registered.schema_of` them.
        scores: Of the same observations.

    Returns:
        Relations by the tests' names; none where there are no samples. Rank correlations are above
        0 where the test sees memorization, also of statistics that are lower where more is.
    """
    if not len(table):
        return {}
    joined = table.join(scores.last.table, on="index", maintain_order="left")
    memorization = joined["memorization"].to_numpy()
    highly = highly_memorized(memorization)
    found = {}
    for test in tests:
        if test.records is not None:
            value = joined[test.records.statistic].fill_null(np.inf).to_numpy()
            relation = relate(memorization, value, highly)
            if test.records.sign < 0:
                turned = rank_correlation(memorization, -value)
                relation = replace(relation, rank_correlation=turned)
            found[test.name] = relation
    return found


def neighbor_data(
    models: SampledModels,
    table: pl.DataFrame,
    samples: NDArray[Any] | None,
    found: SampleTestData | None,
) -> NeighborData | str:
    """Gather what the report shows of nearest samples; or say why there is nothing.

    Args:
        models: Whose samples they are.
        table: Results of all tests.
        samples: Of `models.source`, in the space of its values; None where it cannot be sampled
            from.
        found: What all tests found; None where there are no samples.
    """
    ratio = None if found is None else found.by_name("distance-ratio").relation
    if samples is None or ratio is None:
        return NOT_SAMPLED
    used, row = np.unique(table["nearest_sample"].to_numpy(), return_inverse=True)
    return NeighborData(
        space=space_in_words(models),
        source=models.source,
        count=models.compared,
        table=table.with_columns(nearest_sample=pl.Series(row.astype(np.int64))),
        relation=ratio,
        samples=sampled_pictures(models.data, samples[used]),
    )


def space_in_words(models: SampledModels) -> str:
    """The space of distances, in words that follow "distance in"."""
    space, images = models.spec.space, len(models.data.shape) == 3
    if isinstance(space, CustomSpaceSpec):
        return f"the features of {space.target}"
    if isinstance(space, VisionSpaceSpec):
        return vision_words(space)
    return _WORDS[space.kind] if images or space.kind == "encoder" else "the columns"
