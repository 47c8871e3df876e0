"""Relations of tests on samples to memorization, for an experiment's report."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.datasets.pictures import sampled_pictures
from memo.experiments.experiment import Experiment
from memo.experiments.sampling import tested_samples
from memo.report.charts.binning import highly_memorized
from memo.report.numbers import interval
from memo.report.page_data import NeighborData
from memo.samples.registered import TESTS
from memo.scores.relation import Interval, Relation, relate
from memo.scores.table import Scores
from memo.spec.sample_specs import CustomSpaceSpec

NOT_SAMPLED = "The model has no `sample`, so nothing is known of how near its samples come."

_WORDS = {
    "pixels": "pixels",
    "downsampled": "pixels downsampled by a half",
    "encoder": "the space of the encoder",
}


def relations(table: pl.DataFrame, scores: Scores) -> dict[str, Relation]:
    """Relate the statistic of each test on samples to memorization at the last scored epoch.

    Args:
        table: Results of all tests, columns as in `memo.samples.registered.SCHEMA`.
        scores: Of the same observations.

    Returns:
        Relations by the tests' names; none where there are no samples.
    """
    if not len(table):
        return {}
    joined = table.join(scores.last.table, on="index", maintain_order="left")
    memorization = joined["memorization"].to_numpy()
    highly = highly_memorized(memorization)
    return {
        test.name: relate(memorization, table[test.statistic].fill_null(np.inf).to_numpy(), highly)
        for test in TESTS
    }


def neighbor_data(
    experiment: Experiment,
    table: pl.DataFrame,
    samples: NDArray[Any] | None,
    found: dict[str, Relation],
) -> NeighborData | str:
    """Gather what the report shows of nearest samples; or say why there is nothing.

    Args:
        experiment: Whose report it is.
        table: Results of all tests.
        samples: Of the full model, in the space of its values; None where it cannot be sampled
            from.
        found: The tests' relations to memorization.
    """
    if samples is None:
        return NOT_SAMPLED
    used, row = np.unique(table["nearest_sample"].to_numpy(), return_inverse=True)
    return NeighborData(
        space=space_in_words(experiment),
        source=sample_source(experiment),
        count=tested_samples(experiment),
        table=table.with_columns(nearest_sample=pl.Series(row.astype(np.int64))),
        relation=found["distance-ratio"],
        samples=sampled_pictures(experiment.data, samples[used]),
    )


def sample_metrics(experiment: Experiment, found: dict[str, Relation]) -> dict[str, Any]:
    """The relations as plain JSON, with 95% confidence intervals.

    The distance ratio is called `neighbors`; every further test stands under its own name.
    """
    metrics: dict[str, Any] = {"neighbors": {}}
    for test in TESTS:
        if test.name not in found:
            continue
        relation, statistic = found[test.name], test.statistic
        numbers = {
            "rank_correlation": relation.rank_correlation,
            f"{statistic}_regular": relation.regular,
            f"{statistic}_highly_memorized": relation.highly,
            f"{statistic}_difference": relation.difference,
        }
        infinite = (
            {f"infinite_{statistic}s": relation.infinite} if statistic in test.nullable else {}
        )
        metrics["neighbors" if test.name == "distance-ratio" else test.name] = {
            "samples": tested_samples(experiment),
            **infinite,
            **{key: value for name, one in numbers.items() for key, value in _ends(name, one)},
        }
    return metrics


def facts_of_tests(found: dict[str, Relation]) -> dict[str, str]:
    """Say in words what tests other than the distance ratio, which has figures, have found."""
    facts = {}
    for test in TESTS:
        if test.name in found and test.name != "distance-ratio":
            relation = found[test.name]
            parts = (
                ("mean over the highly memorized", relation.highly),
                ("over the others", relation.regular),
                ("rank correlation with memorization", relation.rank_correlation),
            )
            words = [f"{name} {interval(*one)}" for name, one in parts if one is not None]
            facts[test.words] = "; ".join(words)
    return facts


def _ends(name: str, found: Interval | None) -> list[tuple[str, float | None]]:
    values = found or (None, None, None)
    return [
        (f"{name}{end}", value) for end, value in zip(("", "_low", "_high"), values, strict=True)
    ]


def space_in_words(experiment: Experiment) -> str:
    """The space of distances, in words that follow "distance in"."""
    space, images = experiment.spec.scoring.neighbors.space, len(experiment.data.shape) == 3
    if isinstance(space, CustomSpaceSpec):
        return f"the features of {space.target}"
    return _WORDS[space.kind] if images or space.kind == "encoder" else "the columns"


def sample_source(experiment: Experiment) -> str:
    """Origin of the samples, in words that follow "samples of"."""
    kinds = [m.kind for m in experiment.spec.mitigations if m.of_the_released_density]
    if not kinds:
        return "the full model"
    return f"the full model (not of what {' and '.join(map(repr, kinds))} would release)"
