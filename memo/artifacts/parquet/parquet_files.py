"""Parquet files that may be damaged, or crafted to do damage."""

import io

import polars as pl

from memo.artifacts.parquet.trial import problem_on_trial


class ParquetError(Exception):
    """A file cannot be decoded; the message says why, in one line."""


def read_parquet(content: bytes) -> tuple[pl.DataFrame, dict[str, str]]:
    """The table of a Parquet file and the facts in its footer, once decoding it is seen to be safe.

    Raises:
        ParquetError: It is not a whole Parquet file, or takes far more memory than its size.
    """
    problem = problem_on_trial(content)
    if problem is not None:
        raise ParquetError((problem.splitlines() or ["it is damaged"])[0])
    return pl.read_parquet(io.BytesIO(content)), pl.read_parquet_metadata(io.BytesIO(content))
