"""The contents of a report's section on replicas."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.samples.extraction import Replication
from memo.scores.relation import Interval

BESIDE = 12
"""Records that are shown beside the sample nearest to replicating them."""


@dataclass(frozen=True)
class ReplicaData:
    """Samples of the released model that come near to replicating records, and of fold models."""

    samples: int
    """Number of samples of the released model."""
    source: str
    """Origin of the samples, in words that follow "samples of"."""
    space: str
    """Space of the distances, in words that follow "distance in"."""
    rule: str
    """When a sample replicates a record, in words."""
    table: pl.DataFrame
    """Columns `index` and those of `memo.samples.extraction.COLUMNS`."""
    correlation: Interval | None
    """Rank correlation of memorization with nearness to a replica."""
    by_folds: Replication | str
    """Replicas in and out of training; or what to set for them."""
    pictures: NDArray[np.uint8] | None = None
    """The samples of `nearest`, in its order, for display; None where they are not images."""

    @property
    def nearest(self) -> pl.DataFrame:
        """Rows of the records that are nearest to being replicated, at most `BESIDE`."""
        by = "replica_ratio" if self.table["replica_ratio"].count() else "replica_distance"
        ranked = self.table.sort("replica", by, descending=[True, False], nulls_last=True)
        return ranked.head(BESIDE)

    @property
    def found(self) -> int:
        """Number of records that the released model's samples replicate."""
        return int(self.table["replica"].sum())
