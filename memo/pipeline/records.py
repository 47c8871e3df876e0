"""A table's records, as its report shows them."""

import polars as pl

from memo.artifacts.neighbor_files import read_neighbors
from memo.datasets.tabular.columns import Column, blocks, records
from memo.pipeline.experiment import Experiment
from memo.report.page_data import RecordData

__all__ = ["column_facts", "record_data"]


def record_data(experiment: Experiment) -> RecordData | None:
    """Values, vectors and nearest samples of all records; None where the data are no table.

    Raises:
        ArtifactError: The neighbours are missing, damaged, or from another spec.
    """
    columns = experiment.data.columns
    if columns is None:
        return None
    vectors = experiment.data.scored[:]
    table, samples = read_neighbors(experiment)  # both are empty of a model without samples
    nearest = table.sort("index").select("nearest_sample", "distance_sample")
    return RecordData(
        values=records(columns, vectors),
        vectors=vectors,
        blocks=blocks(columns),
        samples=records(columns, samples) if len(samples) else None,
        nearest_sample=nearest.rows(),
    )


def column_facts(experiment: Experiment) -> dict[str, str]:
    """What a table's columns are, in words."""
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
