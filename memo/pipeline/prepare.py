"""prepare: a source -> data/prepared/<dataset>/."""

import json
from typing import Any

import polars as pl

from memo.artifacts.files import ArtifactError, remove_leftovers, write_whole
from memo.artifacts.layout import Layout
from memo.artifacts.lock import locked
from memo.artifacts.mapped import map_tensors
from memo.artifacts.tables import GROUPED, OBSERVATIONS, read_table, write_table
from memo.artifacts.tensors import Tensors, write_tensors
from memo.artifacts.text.json_files import read_facts
from memo.datasets.prepared import DataError, Prepared, content_hash, has_groups, restored, stored
from memo.datasets.registry import prepare_dataset
from memo.project.project_spec import ProjectSpec
from memo.project.reading import select_dataset

VALUES = "values.safetensors"
TABLE = "observations.parquet"
FACTS = "dataset.json"


def prepare(project: ProjectSpec, layout: Layout, name: str) -> dict[str, Any]:
    """Prepare a data set and write its files; returns what dataset.json says."""
    spec = select_dataset(project, name)
    prepared = prepare_dataset(spec)
    arrays, form = stored(prepared)
    facts = {
        "name": name,
        "spec": spec.model_dump(),
        "observations": len(prepared),
        "shape": list(prepared.shape),
        "content_hash": content_hash(prepared),
        **prepared.facts,
    }
    folder = layout.prepared(name)
    with locked(layout.lock("datasets", name), f"memo prepare {name}"):
        for file in (VALUES, TABLE, FACTS):
            remove_leftovers(folder / file)
        write_tensors(folder / VALUES, Tensors(arrays, form))
        schema = GROUPED if has_groups(prepared.observations) else OBSERVATIONS
        write_table(folder / TABLE, prepared.observations, schema)
        write_whole(folder / FACTS, (json.dumps(facts, indent=2) + "\n").encode())
    return facts


def read_prepared(layout: Layout, name: str) -> tuple[Prepared, str]:
    """A prepared data set and its content hash.

    Raises:
        ArtifactError: It was not prepared, or its files do not hold what their hash says.
    """
    folder = layout.prepared(name)
    if not folder.is_dir():
        raise ArtifactError(
            f"{folder}: data set {name!r} is not prepared; run: memo prepare {name}"
        )
    values = map_tensors(folder / VALUES)
    facts = read_facts(folder / FACTS)
    observations, _ = read_table(folder / TABLE, GROUPED, later=["group"])
    try:
        prepared = restored(values.arrays, values.facts, observations, facts)
    except DataError as error:
        raise ArtifactError(f"{folder / VALUES}: {error}") from None
    if len(prepared) != len(observations) or not _counts_up(observations):
        raise ArtifactError(f"{folder}: values and observations do not fit each other")
    if content_hash(prepared) != facts.get("content_hash"):
        raise ArtifactError(
            f"{folder}: is not what its content hash says; run: memo prepare {name}"
        )
    return prepared, str(facts["content_hash"])


def _counts_up(observations: pl.DataFrame) -> bool:
    return observations["index"].to_list() == list(range(len(observations)))
