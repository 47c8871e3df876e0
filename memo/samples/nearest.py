"""The nearest of many references to each query: exact, by matrix products, in little memory.

Squared distances |a|^2 + |b|^2 - 2 a.b in float32 are fast, and wrong in their last digits: near
duplicates come out at a distance that is not theirs, or in the wrong order. So they only screen. A
bound on their rounding error says which references can be the nearest, and among those it is found
from differences in float64: a duplicate is at distance zero, whatever the values' common offset.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FloatArray: TypeAlias = NDArray[np.float64]
IndexArray: TypeAlias = NDArray[np.int64]

QUERIES = 1024
REFERENCES = 2048
"""Rows of a tile: its products, 8 MiB, stay in a processor's cache."""

DIFFERENCES = 1 << 20
"""Differences held at a time: 8 MiB."""

UNIT_ROUNDOFF = {"highest": 2.0**-24, "high": 2.0**-11, "medium": 2.0**-8}
"""Rounding of torch's matrix products in float32, by `torch.get_float32_matmul_precision`."""

UNDERFLOW = 2.0**-100
"""Far above what components that underflow can add up to, where the largest is 1."""


@dataclass(frozen=True)
class Nearest:
    """The nearest reference of each of n queries; of several at one distance, the first.

    Of several nearest ones, each array has a further axis, the nearest first.
    """

    index: IndexArray
    """(n,), or (n, count)."""
    distance: FloatArray
    """(n,), or (n, count), Euclidean."""


def nearest(
    queries: Tensor, references: Tensor, device: torch.device | str | None = None
) -> Nearest:
    """The nearest reference of each query, as differences in float64 tell it.

    Rows are taken from the references' mean, and scaled so that no component is above 1, in
    float64; then they are rounded to float32, by a relative u = 2^-24 in each component. With
    g = (d + 5) u / (1 - (d + 5) u), these roundings and those of a product of rows of d columns,
    in any order of summation (Higham 2002, eq. 3.5), leave a screened squared distance within
    g (|a| + max |b|)^2 of the true one. A reference whose screened distance is above another's by
    more than twice that is not the nearest.

    Args:
        queries: (n, d), finite, on the CPU.
        references: (m, d), m > 0, finite, on the CPU.
        device: Where matrix products are computed; the CPU when None.

    Raises:
        ValueError: There are no references, or columns differ.
    """
    found = few_nearest(queries, references, 1, device)
    return Nearest(found.index[:, 0], found.distance[:, 0])


def few_nearest(
    queries: Tensor, references: Tensor, count: int, device: torch.device | str | None = None
) -> Nearest:
    """The `count` nearest references of each query, as `nearest` finds the first of them.

    A reference whose screened distance is above the `count`-th lowest by more than twice the error
    is not among them.

    Args:
        queries: (n, d), finite, on the CPU.
        references: (m, d), m >= count, finite, on the CPU.
        count: How many; few, since each holds its own candidates.
        device: Where matrix products are computed; the CPU when None.

    Raises:
        ValueError: There are fewer references, or columns differ.

    Example:
        >>> places = torch.tensor([[0.0], [1.0], [5.0]])
        >>> few_nearest(torch.tensor([[1.5]]), places, 2).distance
        array([[0.5, 1.5]])
    """
    _check(queries, references, count)
    screen = _Screen(queries, references, torch.device(device or "cpu"))
    index = np.zeros((len(queries), count), np.int64)
    square = np.full((len(queries), count), np.inf)
    for rows in _slices(len(queries), QUERIES):
        chunk = queries[rows]
        for query, reference in screen.candidates(chunk, count):
            squares = _squared_distances(chunk, references, query, reference)
            _keep_lowest(index[rows], square[rows], query, reference, squares)
    return Nearest(index, np.sqrt(square))


class _Screen:
    """Squared distances that are right up to a known error."""

    def __init__(self, queries: Tensor, references: Tensor, device: torch.device) -> None:
        self.device = device
        self.origin = _mean(references)
        largest = max(
            float((block.double() - self.origin).abs().amax())
            for rows in (references, queries)
            for block in torch.split(rows, REFERENCES)
        )
        self.scale = 1 / max(largest, float(np.finfo(np.float64).tiny))
        self.references = []
        self.half_squares = []
        self.longest = 0.0
        for block in torch.split(references, REFERENCES):
            centred = self._centred(block)
            squares = centred.square().sum(1)
            self.references.append(centred.float().to(device))
            self.half_squares.append((0.5 * squares).float().to(device))
            self.longest = max(self.longest, float(squares.amax()) ** 0.5)
        roundings = references.shape[1] + 5
        error = roundings * UNIT_ROUNDOFF[torch.get_float32_matmul_precision()]
        self.error = error / (1 - error) if error < 1 else float("inf")

    def candidates(self, queries: Tensor, count: int) -> Iterator[tuple[IndexArray, IndexArray]]:
        """Pairs of rows, query and reference, with each query's `count` nearest among them."""
        centred = self._centred(queries)
        reach = centred.square().sum(1).sqrt() + self.longest
        # What is screened is half the squared distance, less half the query's own square.
        slack = ((self.error * reach.square() + UNDERFLOW) * (1 + 2.0**-20)).float()
        slack, rows = slack.to(self.device), centred.float().to(self.device)
        lowest = torch.full((len(slack), count), float("inf"), device=self.device)
        start = 0
        for references, half_squares in zip(self.references, self.half_squares, strict=True):
            screened = torch.addmm(half_squares, rows, references.T, alpha=-1)
            lowest = _lowest(torch.cat([lowest, _lowest(screened, count)], 1), count)
            near = lowest[:, -1] + slack
            query, reference = (screened <= near[:, None]).nonzero(as_tuple=True)
            yield query.cpu().numpy(), reference.cpu().numpy() + start
            start += len(references)

    def _centred(self, rows: Tensor) -> Tensor:
        return (rows.double() - self.origin) * self.scale


def _lowest(values: Tensor, count: int) -> Tensor:
    """The lowest values of each row in ascending order, all where there are no more."""
    if count == 1:  # many times as fast
        return values.amin(1, keepdim=True)
    return values.topk(min(count, values.shape[1]), largest=False).values


def _squared_distances(
    queries: Tensor, references: Tensor, query: IndexArray, reference: IndexArray
) -> FloatArray:
    """|a - b|^2 of each pair, from differences in float64."""
    squares = np.empty(len(query))
    for pairs in _slices(len(query), max(1, DIFFERENCES // max(1, queries.shape[1]))):
        a = queries[torch.from_numpy(query[pairs])].double()
        b = references[torch.from_numpy(reference[pairs])].double()
        squares[pairs] = (a - b).square().sum(1).numpy()
    return squares


def _keep_lowest(
    index: IndexArray,
    square: FloatArray,
    query: IndexArray,
    reference: IndexArray,
    squares: FloatArray,
) -> None:
    """Take over, in place, what lies nearer than what was found among earlier references.

    Args:
        index: (n, count), of the nearest so far, in ascending order of their distances.
        square: (n, count), squared distances; infinite where none was found yet.
        query: Rows of the pairs that are new, (pairs,).
        reference: The same, of references that come after all earlier ones.
        squares: Their squared distances, (pairs,).
    """
    rows, count = np.unique(query), index.shape[1]
    row = np.concatenate([np.repeat(rows, count), query])
    column = np.concatenate([index[rows].ravel(), reference])
    distance = np.concatenate([square[rows].ravel(), squares])
    later = np.arange(len(row)) >= len(rows) * count
    order = np.lexsort((column, later, distance, row))
    starts = np.searchsorted(row[order], rows)
    best = order[starts[:, None] + np.arange(count)]
    index[rows], square[rows] = column[best], distance[best]


def _mean(rows: Tensor) -> Tensor:
    total = torch.zeros(rows.shape[1], dtype=torch.float64)
    for block in torch.split(rows, REFERENCES):
        total += block.double().sum(0)
    return total / len(rows)


def _slices(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _check(queries: Tensor, references: Tensor, count: int) -> None:
    if len(references) < max(1, count):
        few = f"{len(references)} are fewer than {count}" if len(references) else "there are no"
        raise ValueError(f"{few} references to be near to")
    if queries.ndim != 2 or queries.shape[1:] != references.shape[1:]:
        shapes = " and ".join(str(tuple(rows.shape)) for rows in (queries, references))
        raise ValueError(f"queries and references do not have the same columns: {shapes}")
