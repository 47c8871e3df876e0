"""The nearest other observations of each: exact of few, screened by principal directions of many.

Exact distances of all pairs take time that grows with n^2 d: 90 s of one core for 60,000 images of
784 pixels. Beyond `EXACT` observations, `DIRECTIONS` principal directions, in which distances are
lower bounds (`in_few_directions`), give `CANDIDATES` others of each, of which all numbers tell the
nearest: of MNIST's 60,000 images 99.9% of the nearest and 99.6% of the three nearest are found so
(benchmarks/README.md). Copies and near copies are among them, since they are as near in a few
directions; and where the last candidate is as far there as the nearest is in all,
it is proven that no other is nearer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from memo.datasets.directions import in_few_directions
from memo.datasets.rows import Rows
from memo.samples.nearest import UNIT_ROUNDOFF, FloatArray, IndexArray, few_nearest

EXACT = 10_000
"""Observations up to which all pairs are compared by all numbers."""

DIRECTIONS, CANDIDATES = 48, 32

QUERIES, LANES = 256, 16
"""Rows of a block of lower bounds, and the number of bounds of which the least stands for all."""

SPARE = 4
"""Candidates beyond those that are asked for whose distances are taken in float64."""

NUMBERS = 1 << 22
"""Numbers of candidates that are held at a time."""


@dataclass(frozen=True)
class NearestOthers:
    """The nearest other observations of each, nearest first; of equally near ones, the first."""

    index: NDArray[np.int64]
    """(n, count)."""
    distance: NDArray[np.float64]
    """(n, count), Euclidean."""
    proven: NDArray[np.bool_]
    """True where no observation that is not listed up to here can be nearer, (n, count)."""


def nearest_others(
    rows: Rows,
    count: int,
    exact: int = EXACT,
    candidates: int = CANDIDATES,
    advance: Callable[[int], object] = lambda done: None,
) -> NearestOthers:
    """Find the nearest other observations of each.

    Args:
        rows: Values of the observations, (n, *shape), n > 1.
        count: How many; n - 1 where there are fewer.
        exact: Observations up to which all pairs are compared by all numbers.
        candidates: Others of each that are compared so where there are more; above `count`.
        advance: Told of how many more observations the nearest are found.

    Example:
        >>> found = nearest_others(np.array([[0.0], [3.0], [1.0], [9.0]]), 2)
        >>> found.index.tolist(), found.distance[3].tolist(), bool(found.proven.all())
        ([[2, 1], [2, 0], [0, 1], [1, 2]], [6.0, 8.0], True)
    """
    n = len(rows)
    count = min(count, n - 1)
    if n <= max(exact, LANES * candidates):
        nearest = _exact(rows, count)
        advance(n)
        return nearest
    found = np.empty((n, candidates), np.int64)
    bound = np.empty(n)
    for part, others, least in _least_bounds(
        in_few_directions(rows, np.arange(n), DIRECTIONS), candidates
    ):
        found[part], bound[part] = others, least
        advance(len(others))
    index, distance = np.empty((n, count), np.int64), np.empty((n, count))
    step = max(1, NUMBERS // (candidates * int(np.prod(rows.shape[1:]))))
    for start in range(0, n, step):
        part = slice(start, start + step)
        index[part], distance[part] = _closest(rows, part, found[part], count)
    return NearestOthers(index, distance, distance <= bound[:, None])


def _exact(rows: Rows, count: int) -> NearestOthers:
    """Compare all pairs; an observation is not its own neighbour, its copies are."""
    n = len(rows)
    values = torch.from_numpy(np.array(rows[:]).reshape(n, -1))
    found = few_nearest(values, values, count + 1)
    own = found.index == np.arange(n)[:, None]
    own[~own.any(1), -1] = True  # of more copies than were asked for
    shape = (n, count)
    return NearestOthers(
        found.index[~own].reshape(shape),
        found.distance[~own].reshape(shape),
        np.ones(shape, np.bool_),
    )


def _least_bounds(
    points: NDArray[np.float64], count: int
) -> Iterator[tuple[slice, IndexArray, FloatArray]]:
    """Others of least bounds, block by block: rows, indices (rows, count), and the largest (rows,).

    The `count` least of a row lie in the `count` lanes of the least minima.
    """
    n, width = points.shape
    scale = float(np.abs(points).max()) or 1.0
    lanes = -(-n // LANES)
    references = torch.zeros(LANES * lanes, width)
    references[:n] = torch.from_numpy(points / scale)
    half = references.square().sum(1) / 2
    half[n:] = torch.inf
    columns = references.T.contiguous()
    steps = torch.arange(LANES)[:, None] * lanes
    roundings = (width + 5) * UNIT_ROUNDOFF[torch.get_float32_matmul_precision()]
    longest = float(half[:n].max()) ** 0.5
    for start in range(0, n, QUERIES):
        rows = slice(start, min(start + QUERIES, n))
        bounds = torch.addmm(half, references[rows], columns, alpha=-1)
        bounds.diagonal(start).fill_(torch.inf)
        minima = bounds.view(len(bounds), LANES, lanes).amin(1)
        nearest = minima.topk(count, largest=False).indices
        members = (nearest[:, None] + steps).flatten(1)
        least = bounds.gather(1, members).topk(count, largest=False)
        squares = 2 * (least.values[:, -1] + half[rows]).double()
        error = 4 * roundings * (half[rows].sqrt() + longest).square()
        bound = (squares - error).clamp(min=0).sqrt() * scale
        yield rows, members.gather(1, least.indices).numpy(), bound.numpy()


def _closest(
    rows: Rows, part: slice, others: IndexArray, count: int
) -> tuple[IndexArray, FloatArray]:
    """The closest of some others of each row of a part, by differences in float64.

    Those in the rows' own precision, which is faster, say which few these are taken of.
    """
    own, their = _floats(rows[part]), _floats(rows[others.ravel()])
    difference = their.reshape(*others.shape, -1) - own.reshape(len(own), 1, -1)
    near = np.argsort(np.einsum("ijk,ijk->ij", difference, difference), axis=1)
    near = near[:, : count + SPARE, None]
    difference = np.take_along_axis(difference, near, 1).astype(np.float64)
    squares = np.einsum("ijk,ijk->ij", difference, difference)
    others = np.take_along_axis(others, near[..., 0], 1)
    order = np.lexsort((others, squares))[:, :count]
    return np.take_along_axis(others, order, 1), np.sqrt(np.take_along_axis(squares, order, 1))


def _floats(values: NDArray[Any]) -> NDArray[Any]:
    return values if values.dtype.kind == "f" else values.astype(np.float64)
