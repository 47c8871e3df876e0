"""export: an experiment's log-likelihoods -> one table, as `memo score --from` reads it."""

from pathlib import Path

import polars as pl

from memo.artifacts.files import write_whole
from memo.artifacts.text.csv_files import table_bytes
from memo.errors import InputError, printable
from memo.experiments.log_likelihoods import ScoredDensity, scored_densities
from memo.pipeline.stored_experiment import StoredExperiment


def export(experiment: StoredExperiment, file: Path) -> int:
    """Write log p of every observation under every model; return how many rows.

    Raises:
        InputError: The file is of another kind than .csv and .parquet, or scores are not those of
            the models.
        ArtifactError: Log-likelihoods are missing or damaged, or the file cannot be written.
    """
    for place, mitigation in enumerate(experiment.spec.mitigations):
        if mitigation.of_the_released_density:
            raise InputError(
                f"experiments.{experiment.name}.mitigations.{place}: {mitigation.kind!r} releases "
                "another density than the models', whose log-likelihoods would be exported"
            )
    if file.suffix not in (".csv", ".parquet"):
        raise InputError(f"{file}: is neither .csv nor .parquet")
    table = pl.concat(_rows(experiment, density) for density in scored_densities(experiment))
    if file.suffix == ".csv":
        require_plain(file, table["id"])
    write_whole(file, table_bytes(file.suffix, table))
    return len(table)


def require_plain(file: Path, ids: pl.Series) -> None:
    """See that ids come back from CSV as they are."""
    for name in ids.unique(maintain_order=True):
        if printable(name) != name:
            raise InputError(
                f"{file}: id {name!a:.80} has control characters, which CSV is written without; "
                "export to .parquet"
            )


def _rows(experiment: StoredExperiment, density: ScoredDensity) -> pl.DataFrame:
    table = experiment.read_log_likelihoods(density).join(
        experiment.data.observations.select("index", "id"), on="index", how="left"
    )
    block = [] if density.block is None else [pl.lit(density.block, pl.Int64).alias("block")]
    return table.sort("epoch", "index").select(
        pl.lit(density.name).alias("model"),
        *block,
        "index",
        "id",
        "epoch",
        (~pl.col("held_out")).alias("in_training"),
        "log_likelihood",
        "std_error",
        "unreliable",
    )
