"""The registry of tests on samples: one line a test."""

import polars as pl

from memo.samples import distance_ratio
from memo.samples.interface import SampleTest

TESTS: tuple[SampleTest, ...] = (distance_ratio.TEST,)

SCHEMA: dict[str, pl.DataType] = {"index": pl.Int64()} | {
    name: dtype for test in TESTS for name, dtype in test.columns.items()
}
"""Columns of the table of all tests: one row for each observation."""

NULLABLE = frozenset[str]().union(*(test.nullable for test in TESTS))
"""Columns of that table that may be null."""
