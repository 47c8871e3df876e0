"""The most memorized records of a table: their values, nearest other records, what sets them apart.

A record is set apart in a column by how far it lies there from its nearest other records, measured
against how far records usually lie from theirs. With d_ikj the distance of records i and k in
column j, of standardized columns in standard deviations,

    s_ij = mean of d_ikj^2 over the K nearest other records k of i,   r_ij^2 = s_ij / mean_l s_lj.

Squared distances are sums over columns, so that s_ij / sum_j s_ij is the share of column j in what
lies between a record and its nearest; memorization of a kernel density grows as they get farther.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memo.report.numbers import number
from memo.report.page_data import RecordData

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
Described = Callable[[int], Mapping[str, Any]]

DETAILED = 12
"""Records that are shown with their values."""
NEAREST = 3
"""Other records that each is compared with."""
USUAL = 1000
"""Records, drawn at random, whose nearest records say what is usual."""
STANDS_OUT = 2.0
"""Times as far as usual from which on a column is named."""
NAMED = 3
LISTED = 12
"""Columns that are listed, those that set the record apart most."""
SAMPLED = 4
"""Significant digits of what was sampled."""
CHUNK = 1 << 22
"""Distances held at a time."""


@dataclass(frozen=True)
class Row:
    """One column of a memorized record."""

    column: str
    value: str
    nearest: list[str]
    """Values of its nearest records; then of the nearest sample, where there are any."""
    times: float
    """Root mean square distance to its nearest records, in units of the usual one."""
    share: float
    """Part of the squared distance to its nearest records."""

    @property
    def stands_out(self) -> bool:
        return self.times >= STANDS_OUT


@dataclass(frozen=True)
class Neighbor:
    """A record or a sample that a memorized record is compared with."""

    title: str
    distance: str
    name: str = ""
    """Id of the record; empty for a sample."""
    score: str = ""


@dataclass(frozen=True)
class MemorizedRecord:
    """A record, the columns that set it apart first."""

    name: str
    label: str | None
    score: str
    shrunk: str | None
    """The shrunk score; None where there is none, or nothing to be shrunk."""
    rows: list[Row]
    others: int
    """Further columns, not listed."""
    beside: list[Neighbor]

    @property
    def stands_out(self) -> str:
        """The columns that set it apart, in words."""
        names = [row.column for row in self.rows if row.stands_out][:NAMED]
        return f"stands out in {', '.join(names)}" if names else "stands out in no single column"


def memorized_records(
    data: RecordData, ranked: Sequence[int], described: Described
) -> list[MemorizedRecord]:
    """Return the first of the ranked records, each beside its nearest other ones.

    Args:
        data: Of all records.
        ranked: Indices of two or more, the most memorized first.
        described: From an index to `id`, `label`, and `score` and `shrunk` (in words).
    """
    shown = np.array(ranked[:DETAILED])
    drawn = np.random.default_rng(0).permutation(len(data.vectors))[:USUAL]
    vectors = data.vectors - data.vectors.mean(0, dtype=np.float64).astype(np.float32)
    usual = _apart(vectors, data.blocks, np.union1d(drawn, shown))[0].mean(0)
    apart, nearest, distances = _apart(vectors, data.blocks, shown)
    times = np.sqrt(np.divide(apart, usual, out=np.zeros_like(apart), where=usual > 0))
    shares = apart / np.maximum(apart.sum(1, keepdims=True), np.finfo(np.float64).tiny)
    records = []
    for i, index in enumerate(shown.tolist()):
        beside, compared = _compared(data, described, index, nearest[i], distances[i])
        order = np.argsort(-times[i], kind="stable")
        values = data.values.row(index)
        rows = [
            Row(
                data.values.columns[j],
                in_words(values[j]),
                [other[j] for other in compared],
                float(times[i, j]),
                float(shares[i, j]),
            )
            for j in order[:LISTED]
        ]
        record, others = described(index), max(0, len(order) - LISTED)
        records.append(
            MemorizedRecord(
                record["id"],
                record["label"],
                record["score"],
                record["shrunk"],
                rows,
                others,
                beside,
            )
        )
    return records


def _compared(
    data: RecordData, described: Described, index: int, nearest: IndexArray, distances: FloatArray
) -> tuple[list[Neighbor], list[list[str]]]:
    """Return what a record is compared with, and the values of each in words."""
    beside, compared = [], []
    for place, (other, distance) in enumerate(zip(nearest.tolist(), distances, strict=True), 1):
        record = described(other)
        name, score = record["id"], record["score"]
        beside.append(Neighbor(f"nearest {place}", number(float(distance)), name, score))
        compared.append([in_words(value) for value in data.values.row(other)])
    if data.samples is not None:
        sample, distance = data.nearest_sample[index]
        beside.append(Neighbor("sample", number(distance)))
        compared.append([in_words(value, SAMPLED) for value in data.samples.row(sample)])
    return beside, compared


def _apart(
    vectors: NDArray[np.float32], blocks: Sequence[slice], rows: IndexArray
) -> tuple[FloatArray, IndexArray, FloatArray]:
    """Return s of each record and column (m, columns), its nearest (m, K), their distances (m, K).

    Products in float32 find the nearest; distances are from differences in float64.
    """
    count = min(NEAREST, len(vectors) - 1)
    squares = np.square(vectors).sum(1)
    nearest = np.empty((len(rows), count), np.int64)
    for part in np.array_split(np.arange(len(rows)), -(-len(rows) * len(vectors) // CHUNK)):
        near = squares - 2 * vectors[rows[part]] @ vectors.T
        near[np.arange(len(part)), rows[part]] = np.inf
        nearest[part] = np.argpartition(near, count - 1, axis=1)[:, :count]
    differences = np.square(vectors[rows, None].astype(np.float64) - vectors[nearest])
    by_column = np.stack([differences[..., block].sum(-1) for block in blocks], -1)
    squared = by_column.sum(-1)
    order = np.lexsort((nearest, squared))
    nearest, squared = (np.take_along_axis(part, order, 1) for part in (nearest, squared))
    return by_column.mean(1), nearest, np.sqrt(squared)


def in_words(value: float | str, digits: int | None = None) -> str:
    """Tell all digits of a number of usual size, or so many significant ones; names as they are."""
    if isinstance(value, str):
        return value
    if value and not 1e-5 <= abs(value) < 1e9:
        text = f"{value:.4g}"
    else:
        unique = digits is None
        text = np.format_float_positional(value, digits, unique, fractional=False, trim="-")
    return text.replace("-", "−")
