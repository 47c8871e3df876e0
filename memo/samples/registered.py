"""The registry of tests on samples, one line a test; and the table that holds their results."""

from collections.abc import Collection

import polars as pl

from memo.samples import extraction
from memo.samples.interface import SampleTest
from memo.samples.tests_on_samples import (
    authenticity,
    closest_record,
    cosine_distance,
    data_copying,
    distance_ratio,
    feature_likelihood,
    nearest_ratio,
    precision_recall,
    two_samples,
)

TESTS: tuple[SampleTest, ...] = (
    distance_ratio.TEST,
    closest_record.TEST,
    nearest_ratio.TEST,
    authenticity.TEST,
    cosine_distance.TEST,
    feature_likelihood.TEST,
    data_copying.TEST,
    precision_recall.TEST,
    two_samples.TEST,
)


def chosen_tests(names: Collection[str]) -> list[SampleTest]:
    """Tests of these names in the order of the registry, after the distance ratio, always run.

    Example:
        >>> [test.name for test in chosen_tests(["two-samples", "authenticity"])]
        ['distance-ratio', 'authenticity', 'two-samples']
    """
    return [test for test in TESTS if test is distance_ratio.TEST or test.name in names]


def schema_of(tests: Collection[SampleTest]) -> dict[str, pl.DataType]:
    """Columns of the table of tests, and of extraction: one row for each observation."""
    values = [test.records for test in tests if test.records is not None]
    return (
        {"index": pl.Int64()}
        | {name: dtype for part in values for name, dtype in part.columns.items()}
        | {part.by_repeat: pl.List(pl.Float64()) for part in values}
        | extraction.COLUMNS
    )


SCHEMA = schema_of(TESTS)
"""Columns of that table where all tests run."""

NULLABLE = extraction.NULLABLE.union(
    *(part.nullable | {part.by_repeat} for part in (t.records for t in TESTS) if part is not None)
)
"""Columns of that table that may be null."""
