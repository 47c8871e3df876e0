"""Which observations of a training set duplicate others, and are not trained on."""

import numpy as np
from numpy.typing import NDArray

from memo.datasets.rows import Rows
from memo.design.k_fold import IndexArray

__all__ = ["duplicate_pairs", "without_duplicates"]

CHUNK = 1024
"""Observations whose neighbours are found at a time."""


def duplicate_pairs(rows: Rows, distance: float) -> NDArray[np.int64]:
    """Pairs i < j of observations that are equal, or nearer than a distance.

    Equal ones are found by their bytes; nearer ones by their Euclidean distance.

    Returns:
        (pairs, 2), ordered by j, then i.
    """
    values = np.asarray(rows[:]).reshape(len(rows), -1)
    pairs = _equal_pairs(values)
    if distance > 0:
        pairs = np.unique(np.concatenate([pairs, _near_pairs(values, distance)]), axis=0)
    return pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]


def without_duplicates(members: IndexArray, pairs: NDArray[np.int64]) -> IndexArray:
    """A training set without those members that duplicate one of lower index which is kept."""
    kept = set(members.tolist())
    for first, second in pairs.tolist():
        if first in kept:
            kept.discard(second)
    return members[np.isin(members, sorted(kept))]


def _equal_pairs(values: NDArray[np.generic]) -> NDArray[np.int64]:
    groups: dict[bytes, list[int]] = {}
    for index, row in enumerate(values):
        groups.setdefault(row.tobytes(), []).append(index)
    pairs = [(i, j) for group in groups.values() for k, j in enumerate(group) for i in group[:k]]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _near_pairs(values: NDArray[np.generic], distance: float) -> NDArray[np.int64]:
    # Imported here: it takes a second, and nothing else here needs it.
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415

    points = values.astype(np.float32)
    neighbours = NearestNeighbors(radius=distance, algorithm="brute").fit(points)
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(points), CHUNK):
        part = neighbours.radius_neighbors(
            points[start : start + CHUNK], return_distance=False, sort_results=False
        )
        for j, near in enumerate(part, start):
            below = near[near < j]
            found.append(np.column_stack([below, np.full(len(below), j)]))
    return np.concatenate(found)
