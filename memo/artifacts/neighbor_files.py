"""Files of nearest neighbours: written whole, and read only where the fingerprint holds."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.artifacts.files import ArtifactError
from memo.artifacts.fingerprints import fingerprint
from memo.artifacts.tables import NEIGHBORS, read_table, write_table
from memo.artifacts.tensors import Tensors, read_tensors, write_tensors
from memo.artifacts.versions import NEIGHBORS_VERSION
from memo.pipeline.experiment import Experiment

__all__ = ["read_neighbors", "write_neighbors"]


def read_neighbors(experiment: Experiment) -> tuple[pl.DataFrame, NDArray[Any]]:
    """The table of neighbours, and what its nearest samples look like.

    Returns:
        The table, and the samples that are nearest to an observation, by their rows: for display
        as `pictures` has them where observations are images, else their columns.

    Raises:
        ArtifactError: A file is missing, damaged, or from another spec.
    """
    table_file = experiment.layout.neighbors(experiment.name)
    samples_file = experiment.layout.nearest_samples(experiment.name)
    n = len(experiment.data)
    table, facts = read_table(table_file, NEIGHBORS)
    tensors = read_tensors(samples_file)
    for file, found in ((table_file, facts), (samples_file, tensors.facts)):
        if found.get("fingerprint") != _fingerprint(experiment):
            raise ArtifactError(
                f"{file}: belongs to another spec; run: memo neighbors {experiment.name}"
            )
    samples = tensors.arrays.get("samples", np.empty(0))
    if samples.ndim < 2 or not np.isfinite(samples).all():
        raise ArtifactError(f"{samples_file}: has no samples")
    if len(table) or len(samples):  # both are empty of a model that cannot be sampled from
        _check_neighbors(table_file, table, n, len(samples))
    return table, samples


def write_neighbors(experiment: Experiment, table: pl.DataFrame, samples: NDArray[Any]) -> None:
    """Write the table of neighbours and its nearest samples, as `read_neighbors` has them.

    Raises:
        ArtifactError: A file cannot be written.
    """
    facts = {"fingerprint": _fingerprint(experiment)}
    write_tensors(
        experiment.layout.nearest_samples(experiment.name), Tensors({"samples": samples}, facts)
    )
    write_table(experiment.layout.neighbors(experiment.name), table, NEIGHBORS, facts)


def _check_neighbors(file: Path, table: pl.DataFrame, observations: int, samples: int) -> None:
    """See that neighbours are among what there is, at distances."""
    counts = {"nearest_sample": samples, "nearest_held_out": observations}
    inside = all(table[name].is_between(0, n - 1).all() for name, n in counts.items())
    distances = ("distance_sample", "distance_held_out", "ratio")
    if not inside or any((table[name] < 0).any() for name in distances):
        raise ArtifactError(f"{file}: names neighbours that are not there")
    if table["index"].to_list() != list(range(observations)):
        raise ArtifactError(f"{file}: column 'index' does not go through all observations")


def _fingerprint(experiment: Experiment) -> str:
    scoring = experiment.spec.scoring
    return fingerprint(
        {
            "full": experiment.full_fingerprint(),
            "epoch": scoring.epochs[-1],
            "neighbors": scoring.neighbors.model_dump(),
            "version": NEIGHBORS_VERSION,
        }
    )
