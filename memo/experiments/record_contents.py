"""A table's records, as its report shows them."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.datasets.prepared import Prepared
from memo.datasets.tabular.columns import Column, blocks, records
from memo.experiments.experiment import Experiment
from memo.report.page_data import RecordData


def record_data(
    data: Prepared, table: pl.DataFrame, samples: NDArray[Any] | None
) -> RecordData | None:
    """Gather values, vectors and nearest samples of all records; None where the data are no table.

    Args:
        data: The observations.
        table: Results of tests on samples; without rows where there are none.
        samples: What observations are compared with, in the space of the model's values; None of a
            model that cannot be sampled from.
    """
    columns = data.columns
    if columns is None:
        return None
    vectors = data.scored[:]
    return RecordData(
        values=records(columns, vectors),
        vectors=vectors,
        blocks=blocks(columns),
        samples=None if samples is None else records(columns, np.asarray(samples, np.float32)),
        nearest_sample=table.sort("index").select("nearest_sample", "distance_sample").rows(),
        names=data.observations["id"].to_list(),
    )


def column_facts(experiment: Experiment) -> dict[str, str]:
    """Say what a table's columns are."""
    columns = experiment.data.columns
    if columns is None:
        return {}
    numbers = [column for column in columns if column.categories is None]
    categorical = [f"{c.name} ({len(c.categories)})" for c in columns if c.categories is not None]
    found = {"Columns": f"{len(numbers)} of numbers"}
    if categorical:
        found["Columns"] += f", {len(categorical)} of categories: {', '.join(categorical)}"
    repeated = _repeated(numbers, records(columns, experiment.data.scored[:]))
    if repeated:
        found["Repeated numbers"] = (
            f"Fewer than half of the values differ in {', '.join(repeated)}. A density can gain on "
            "such numbers by spikes; `dequantize` takes that away."
        )
    imputed = experiment.data.facts.get("imputed")
    if imputed:
        counts = ", ".join(f"{name} {count:,}" for name, count in imputed.items())
        found["Imputed values"] = f"{counts}; they are scored as if they had been observed"
    return found


def _repeated(numbers: list[Column], values: pl.DataFrame) -> list[str]:
    """Columns of numbers with few different values, to which no noise was added."""
    return [
        column.name
        for column in numbers
        if column.step is None and 2 * values[column.name].n_unique() < len(values)
    ]
