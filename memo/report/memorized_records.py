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

__all__ = ["MemorizedRecord", "memorized_records"]

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

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
    """Of each of its nearest records; then of the nearest sample, where there are any."""
    times: float
    """As far from them as usual."""
    share: float
    """Of the squared distance to them."""

    @property
    def stands_out(self) -> bool:
        return self.times >= STANDS_OUT


@dataclass(frozen=True)
class Beside:
    """What a record is compared with."""

    title: str
    name: str
    """Its id; empty of a sample."""
    score: str
    distance: str


@dataclass(frozen=True)
class MemorizedRecord:
    """A record, the columns that set it apart first."""

    name: str
    label: str | None
    score: str
    rows: list[Row]
    others: int
    """Further columns, not listed."""
    beside: list[Beside]

    @property
    def stands_out(self) -> str:
        """The columns that set it apart, in words."""
        names = [row.column for row in self.rows if row.stands_out][:NAMED]
        return f"stands out in {', '.join(names)}" if names else "stands out in no single column"


def memorized_records(
    data: RecordData, ranked: Sequence[int], described: Callable[[int], Mapping[str, Any]]
) -> list[MemorizedRecord]:
    """The first of the ranked records, each beside its nearest other ones.

    Args:
        data: Of all records.
        ranked: Indices of two or more, the most memorized first.
        described: From an index to `id`, `label` and `score` (in words).
    """
    shown = np.array(ranked[:DETAILED])
    usual = np.union1d(_drawn(len(data.vectors)), shown)
    vectors = data.vectors - data.vectors.mean(0, dtype=np.float64).astype(np.float32)
    parts, _, _ = _apart(vectors, data.blocks, usual)
    mean = parts.mean(0)
    apart, nearest, distances = _apart(vectors, data.blocks, shown)
    times = np.sqrt(np.divide(apart, mean, out=np.zeros_like(apart), where=mean > 0))
    shares = apart / np.maximum(apart.sum(1, keepdims=True), np.finfo(np.float64).tiny)
    return [
        _memorized(data, described, int(index), nearest[i], distances[i], times[i], shares[i])
        for i, index in enumerate(shown)
    ]


def _memorized(
    data: RecordData,
    described: Callable[[int], Mapping[str, Any]],
    index: int,
    nearest: IndexArray,
    distances: FloatArray,
    times: FloatArray,
    shares: FloatArray,
) -> MemorizedRecord:
    compared = [[_in_words(v) for v in data.values.row(int(other))] for other in nearest]
    beside = [
        Beside(
            f"nearest {place}",
            described(int(other))["id"],
            described(int(other))["score"],
            number(float(distance)),
        )
        for place, (other, distance) in enumerate(zip(nearest, distances, strict=True), 1)
    ]
    if data.samples is not None:
        row, distance = data.nearest_sample[index]
        compared.append([_in_words(value, SAMPLED) for value in data.samples.row(row)])
        beside.append(Beside("sample", "", "", number(distance)))
    values = data.values.row(index)
    order = np.argsort(-times, kind="stable")
    record = described(index)
    return MemorizedRecord(
        record["id"],
        record["label"],
        record["score"],
        [
            Row(
                data.values.columns[j],
                _in_words(values[j]),
                [other[j] for other in compared],
                float(times[j]),
                float(shares[j]),
            )
            for j in order[:LISTED]
        ],
        max(0, len(order) - LISTED),
        beside,
    )


def _apart(
    vectors: NDArray[np.float32], blocks: Sequence[slice], rows: IndexArray
) -> tuple[FloatArray, IndexArray, FloatArray]:
    """s of each record and column (m, columns); its nearest (m, K), and their distances (m, K)."""
    count = min(NEAREST, len(vectors) - 1)
    squares = np.square(vectors).sum(1)
    nearest = np.empty((len(rows), count), np.int64)
    step = max(1, CHUNK // len(vectors))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        near = squares - 2 * vectors[part] @ vectors.T
        near[np.arange(len(part)), part] = np.inf
        nearest[start : start + step] = np.argpartition(near, count - 1, axis=1)[:, :count]
    differences = np.square(vectors[rows, None].astype(np.float64) - vectors[nearest])
    by_column = np.stack([differences[..., block].sum(-1) for block in blocks], -1)
    squared = by_column.sum(-1)
    order = np.lexsort((nearest, squared))
    return (
        by_column.mean(1),
        np.take_along_axis(nearest, order, 1),
        np.sqrt(np.take_along_axis(squared, order, 1)),
    )


def _drawn(count: int) -> IndexArray:
    """The same ones each time."""
    return np.sort(np.random.default_rng(0).permutation(count)[:USUAL])


def _in_words(value: float | str, digits: int | None = None) -> str:
    """All digits of a number of usual size, or so many significant ones; names as they are."""
    if isinstance(value, str):
        return value
    if value and not 1e-5 <= abs(value) < 1e9:
        return f"{value:.4g}".replace("-", "−")
    text = np.format_float_positional(
        value, digits, unique=digits is None, fractional=False, trim="-"
    )
    return text.replace("-", "−")
