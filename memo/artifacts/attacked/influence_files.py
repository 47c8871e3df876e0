"""Influence of near records in a file, read only where the fingerprint holds."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from memo.artifacts.files import ArtifactError
from memo.artifacts.tables import read_table, write_table
from memo.attacks.influence import INFLUENCE, NULLABLE


@dataclass(frozen=True)
class InfluenceFile:
    """The table of one experiment.

    Args:
        path: Where it lies.
        fingerprint: What its footer must name.
        observations: Number of observations that it may name.
        pairs: How many rows it must have.
    """

    path: Path
    fingerprint: str
    observations: int
    pairs: int

    def write(self, table: pl.DataFrame) -> None:
        """Write the table, whole or not at all.

        Raises:
            ArtifactError: The file cannot be written.
        """
        facts = {"fingerprint": self.fingerprint}
        write_table(self.path, table, INFLUENCE, facts, NULLABLE, self.pairs)

    def read(self) -> pl.DataFrame:
        """Read the table.

        Raises:
            ArtifactError: The file is missing, damaged, from another spec, or names observations
                that are not there, or explains without numbers.
        """
        table, facts = read_table(self.path, INFLUENCE, self.pairs, NULLABLE)
        if facts.get("fingerprint") != self.fingerprint:
            raise ArtifactError(f"{self.path}: belongs to another spec")
        places = table.select(pl.col("index", "neighbor").is_between(0, self.observations - 1))
        explained = table.filter("explained").select(NULLABLE)
        if not all(places.select(pl.all().all()).row(0)) or sum(explained.null_count().row(0)):
            raise ArtifactError(f"{self.path}: names observations that are not there")
        return table
