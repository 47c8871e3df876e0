"""Per-record results of tests on samples in a file, read only where the fingerprint holds."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic import ValidationError

from memo.artifacts.files import ArtifactError
from memo.artifacts.tables import Facts, Schema, read_table, write_table
from memo.scores.seen.fold_numbers import FoldNumbers

NUMBERS = "numbers"
"""The fact that holds the numbers of tests on fold models, as JSON."""


@dataclass(frozen=True)
class NeighborFile:
    """The table of an experiment's tests on samples.

    Args:
        path: Where it lies.
        fingerprint: What its footer must name.
        schema: Columns that it must have: `index`, then those of each test.
        nullable: Columns that may have nulls.
        observations: How many rows it must have; 0 for a model that cannot be sampled from.
        samples: How many samples `nearest_sample` and `replica_sample` may name.
        models: How many fold models `replicated_by` may name.
        numbers: Names of the numbers of each test that has any.
    """

    path: Path
    fingerprint: str
    schema: Schema
    nullable: Collection[str]
    observations: int
    samples: int
    models: int
    numbers: Mapping[str, Collection[str]]

    def write(self, table: pl.DataFrame, numbers: FoldNumbers) -> None:
        """Write the table, and in its footer the tests' numbers; whole or not at all.

        Raises:
            ArtifactError: The file cannot be written.
        """
        facts = {"fingerprint": self.fingerprint, NUMBERS: numbers.model_dump_json()}
        write_table(self.path, table, self.schema, facts, self.nullable, self.observations)

    def read(self) -> pl.DataFrame:
        """Read the table.

        Raises:
            ArtifactError: The file is missing, damaged, from another spec, or names neighbours that
                are not there.
        """
        return self.read_all()[0]

    def read_all(self) -> tuple[pl.DataFrame, FoldNumbers]:
        """Read the table, and the tests' numbers.

        Raises:
            ArtifactError: As `read`; or the numbers are not those of the tests on fold models.
        """
        table, facts = read_table(self.path, self.schema, self.observations, self.nullable)
        if facts.get("fingerprint") != self.fingerprint:
            raise ArtifactError(f"{self.path}: belongs to another spec")
        self._require_neighbors(table)
        self._require_ranks(table)
        return table, self._numbers(facts)

    def _require_neighbors(self, table: pl.DataFrame) -> None:
        names = {
            "nearest_sample": (table["nearest_sample"], self.samples),
            "replica_sample": (table["replica_sample"], self.samples),
            "nearest_held_out": (table["nearest_held_out"], self.observations),
            "replicated_by": (table["replicated_by"].explode(empty_as_null=False), self.models),
        }
        inside = all(
            not named.null_count() and named.is_between(0, n - 1).all()
            for named, n in names.values()
        )
        distances = ("distance_sample", "distance_held_out", "ratio", "replica_distance")
        if not inside or any((table[name] < 0).any() for name in distances):
            raise ArtifactError(f"{self.path}: names neighbours that are not there")
        if table["index"].to_list() != list(range(self.observations)):
            raise ArtifactError(f"{self.path}: column 'index' does not go through all observations")

    def _require_ranks(self, table: pl.DataFrame) -> None:
        """Refuse ranks in single repeats that are of unequal numbers, or not from 0 to 1."""
        for name in table.columns:
            if table[name].dtype == pl.List(pl.Float64):
                ranks = table[name].drop_nulls()
                inside = ranks.explode(empty_as_null=False).drop_nans().is_between(0, 1)
                if ranks.list.len().n_unique() > 1 or not inside.all() or inside.null_count():
                    raise ArtifactError(f"{self.path}: column {name!r} does not hold ranks")

    def _numbers(self, facts: Facts) -> FoldNumbers:
        wrong = ArtifactError(f"{self.path}: does not hold the numbers of tests on fold models")
        try:
            found = FoldNumbers.model_validate_json(facts.get(NUMBERS, ""))
        except ValidationError:
            raise wrong from None
        names = {test: {*numbers} for test, numbers in found.numbers.items()}
        wanted = {test: {*numbers} for test, numbers in self.numbers.items()}
        lengths = {
            len(side)
            for numbers in found.numbers.values()
            for sides in numbers.values()
            for side in (sides.inside, sides.outside)
        }
        there = names == wanted and lengths == {self.models}
        if found.numbers if found.missing is not None else not there:
            raise wrong
        return found
