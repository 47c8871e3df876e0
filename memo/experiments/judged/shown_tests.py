"""Everything that a page shows of tests on samples, and the same as metrics."""

from dataclasses import dataclass
from typing import Any

import polars as pl
from numpy.typing import NDArray

from memo.experiments.judged.seen_by_tests import sample_test_data, sample_test_metrics
from memo.experiments.record_contents import record_data
from memo.experiments.release.replicas import replica_data, replica_metrics
from memo.experiments.sample_relation import neighbor_data
from memo.experiments.sampled.sampled_models import SampledModels
from memo.report.audit.replica_data import ReplicaData
from memo.report.page_data import NeighborData, RecordData
from memo.report.sampled.sample_test_data import SampleTestData
from memo.scores.seen.fold_numbers import FoldNumbers
from memo.scores.table import Scores


@dataclass(frozen=True)
class ShownTests:
    """Parts of `ReportData`, by its names."""

    neighbors: NeighborData | str
    records: RecordData | None
    replicas: ReplicaData | str
    sample_tests: SampleTestData | None

    @property
    def metrics(self) -> dict[str, Any]:
        """Findings as plain JSON."""
        return sample_test_metrics(self.sample_tests) | replica_metrics(self.replicas)


def shown_tests(
    models: SampledModels,
    table: pl.DataFrame,
    numbers: FoldNumbers,
    samples: NDArray[Any] | None,
    scores: Scores,
) -> ShownTests:
    """Judge results of tests by scores.

    Args:
        models: Whose samples they are.
        table: Results of all tests, columns as `memo.samples.registered.schema_of` them.
        numbers: Of fold models.
        samples: Of `models.source`, in the space of its values; None where it cannot be sampled
            from.
        scores: Of the same observations, or some of them.
    """
    found = sample_test_data(models, table, numbers, scores)
    return ShownTests(
        neighbor_data(models, table, samples, found),
        record_data(models.data, table, samples),
        replica_data(models, table, samples, scores),
        found,
    )
