"""The registry of tests on samples, one line a test; and the table that holds their results."""

import polars as pl

from memo.samples import distance_ratio, extraction
from memo.samples.interface import SampleTest

TESTS: tuple[SampleTest, ...] = (distance_ratio.TEST,)

SCHEMA: dict[str, pl.DataType] = (
    {"index": pl.Int64()}
    | {name: dtype for test in TESTS for name, dtype in test.columns.items()}
    | extraction.COLUMNS
)
"""Columns of the table of all tests, and of extraction: one row for each observation."""

NULLABLE = extraction.NULLABLE.union(*(test.nullable for test in TESTS))
"""Columns of that table that may be null."""
