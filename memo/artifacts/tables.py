"""Parquet tables and their schemas; a table is checked before it is read as one."""

import hashlib
import io
import re
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from memo.artifacts.files import ArtifactError, read_whole, write_whole
from memo.artifacts.parquet.parquet_files import ParquetError, read_parquet

Schema = dict[str, pl.DataType]
Facts = dict[str, str]

OBSERVATIONS: Schema = {"index": pl.Int64(), "id": pl.String(), "label": pl.String()}
"""`label` may be null; `id` is the source's own name of the record."""

GROUPED: Schema = OBSERVATIONS | {"group": pl.String()}
"""Observations of a data set with groups; `group` names the one that is held out together."""

LOG_LIKELIHOODS: Schema = {
    "index": pl.Int64(),
    "epoch": pl.Int64(),
    "held_out": pl.Boolean(),
    "log_likelihood": pl.Float64(),
    "std_error": pl.Float64(),
    "effective_sample_size": pl.Float64(),
    "samples": pl.Int64(),
    "pareto_k": pl.Float64(),
    "unreliable": pl.Boolean(),
}
"""log p(x) of every observation under one fold model, in nats, and how it was estimated.

`samples` are the latent draws it took, 0 where log p(x) is exact; `pareto_k` is the tail shape of
their weights; `unreliable` marks estimates whose standard error is above the tolerance, or not to
be trusted itself.
"""

PREFIX = "memo."
NO_DIGEST = "0" * 64
SEAL = re.compile(rb"memo\.digest.{1,8}?([0-9a-f]{64})", re.DOTALL)

LONGEST_TEXT = 4096
"""Characters of an id or a label, as many as of a path: pages show them."""

NULLABLE = frozenset({"label", "group", "std_error", "memorization_at_n"})


class MissingColumnsError(ArtifactError):
    """A table lacks columns that it must have."""

    def __init__(self, file: Path, columns: Sequence[str]):
        super().__init__(f"{file}: has no column {', '.join(map(repr, columns))}")
        self.columns = columns
        """Names of all that are missing."""


def write_table(
    file: Path,
    table: pl.DataFrame,
    schema: Schema,
    facts: Facts | None = None,
    nullable: Collection[str] = NULLABLE,
    rows: int | None = None,
) -> None:
    """Write a table as Parquet, whole or not at all, with facts about it in its footer.

    Raises:
        ArtifactError: The table does not fit the schema, or has other than `rows` rows, or none
            when that is None; or the file cannot be written.
    """
    _check(file, table, schema, nullable, rows)
    buffer = io.BytesIO()
    metadata = {f"{PREFIX}{name}": fact for name, fact in (facts or {}).items()}
    metadata[f"{PREFIX}digest"] = NO_DIGEST
    table.select(*schema).write_parquet(
        buffer, compression="zstd", statistics=False, metadata=metadata
    )
    write_whole(file, _sealed(buffer.getvalue()))


def read_table(
    file: Path,
    schema: Schema,
    rows: int | None = None,
    nullable: Collection[str] = NULLABLE,
    later: Collection[str] = (),
) -> tuple[pl.DataFrame, Facts]:
    """Read a Parquet table that has the schema's columns, of its types, without nulls or NaN.

    Args:
        file: The Parquet file.
        schema: Columns it must have; further ones are dropped.
        rows: How many it must have; at least one when None.
        nullable: Columns that may have nulls.
        later: Columns of these that an earlier memo did not write; null where they are missing.

    Returns:
        The table, and the facts in its footer.

    Raises:
        ArtifactError: The file is missing, truncated, empty, or does not fit the schema.
    """
    return parse_table(read_whole(file), schema, file, rows, nullable, later)


def parse_table(
    content: bytes,
    schema: Schema,
    file: Path,
    rows: int | None = None,
    nullable: Collection[str] = NULLABLE,
    later: Collection[str] = (),
) -> tuple[pl.DataFrame, Facts]:
    """Read a table from the bytes of a file that lies elsewhere.

    Raises:
        ArtifactError: See `read_table`; the message names `file`.
    """
    _check_digest(content, file)
    try:
        table, metadata = read_parquet(content)
    except ParquetError as error:
        raise ArtifactError(f"{file}: is not a whole Parquet file: {error}") from None
    missing = [name for name in later if name not in table.columns]
    table = table.with_columns(pl.lit(None, schema[name]).alias(name) for name in missing)
    _check(file, table, schema, nullable, rows)
    facts = {
        name.removeprefix(PREFIX): fact
        for name, fact in metadata.items()
        if name.startswith(PREFIX) and name != f"{PREFIX}digest"
    }
    return table.select(*schema), facts


def require_keys(file: Path, table: pl.DataFrame, observations: int, epochs: Sequence[int]) -> None:
    """See that a table has one row for each epoch and observation, in that order.

    Raises:
        ArtifactError: It has others.
    """
    index, epoch = np.tile(np.arange(observations), len(epochs)), np.repeat(epochs, observations)
    for name, expected in (("index", index), ("epoch", epoch)):
        if not np.array_equal(table[name].to_numpy(), expected):
            raise ArtifactError(f"{file}: column {name!r} does not go through all observations")


def _sealed(content: bytes) -> bytes:
    """The file with its SHA-256, taken with zeros in the digest's place, in the footer."""
    return _with_digest(content, _seal(content), hashlib.sha256(content).hexdigest().encode())


def _check_digest(content: bytes, file: Path) -> None:
    """Refuse altered bytes.

    A table without a digest was not written by memo, and is judged by its schema alone.
    """
    found = _seal(content)
    if found is None:
        return
    unsealed = _with_digest(content, found, NO_DIGEST.encode())
    if hashlib.sha256(unsealed).hexdigest().encode() != found.group(1):
        raise ArtifactError(f"{file}: is not a whole Parquet file: its digest does not hold")


def _seal(content: bytes) -> re.Match[bytes] | None:
    """The digest in the footer, the last part of the file; values may look like one, too."""
    return next(reversed([*SEAL.finditer(content)]), None)


def _with_digest(content: bytes, seal: re.Match[bytes] | None, digest: bytes) -> bytes:
    assert seal is not None  # it was written, or found
    return content[: seal.start(1)] + digest + content[seal.end(1) :]


def _check(
    file: Path, table: pl.DataFrame, schema: Schema, nullable: Collection[str], rows: int | None
) -> None:
    missing = [name for name in schema if name not in table.columns]
    if missing:
        raise MissingColumnsError(file, missing)
    for name, dtype in schema.items():
        column = table[name]
        if column.dtype != dtype:
            raise ArtifactError(f"{file}: column {name!r} is {column.dtype}, not {dtype}")
        if name not in nullable and column.null_count():
            raise ArtifactError(f"{file}: column {name!r} has {column.null_count()} empty values")
        if dtype == pl.String():
            _require_short(file, column)
        if dtype == pl.Float64() and not column.drop_nulls().is_finite().all():
            raise ArtifactError(f"{file}: column {name!r} has values that are not finite")
    if rows is not None and len(table) != rows:
        raise ArtifactError(f"{file}: has {len(table)} rows, not {rows}")
    if rows is None and not len(table):
        raise ArtifactError(f"{file}: has no rows")


def _require_short(file: Path, column: pl.Series) -> None:
    long = column.filter(column.str.len_chars() > LONGEST_TEXT)
    if len(long):
        raise ArtifactError(
            f"{file}: column {column.name!r} has a text of {len(long[0]):,} characters; shorten it "
            f"to at most {LONGEST_TEXT:,} where it comes from"
        )
