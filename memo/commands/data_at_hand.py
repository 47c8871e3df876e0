"""Data sets that a spec can be tried on, told without reading them."""

from pathlib import Path

from memo.artifacts.layout import Layout
from memo.project.project_spec import ProjectSpec
from memo.spec.dataset_specs import DatasetSpec, TableSpec

LOOKED_AT = 20 << 20
"""Bytes of a table that is not prepared yet and is read all the same, at most."""


def data_at_hand(project: ProjectSpec, layout: Layout) -> list[str]:
    """Names of data sets that are prepared, or are tables that are quickly read."""
    return [
        name
        for name, spec in project.datasets.items()
        if layout.prepared(name).is_dir() or is_small_table(spec)
    ]


def is_small_table(spec: DatasetSpec) -> bool:
    """True of a table whose file is there and not too large to be read at once."""
    if not isinstance(spec, TableSpec):
        return False
    file = Path(spec.path)
    return file.is_file() and file.stat().st_size <= LOOKED_AT


def not_prepared(dataset: str) -> str:
    """A sentence for people about a data set that experiments cannot be tried on yet."""
    return f"{dataset} is not prepared: its experiments are tried on it once it is"
