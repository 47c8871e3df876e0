"""Observations of a training set that duplicate others, and are not trained on."""

import numpy as np
import scipy
from numpy.typing import NDArray

from memo.datasets.rows import Rows
from memo.design.k_fold import IndexArray


def duplicate_pairs(rows: Rows, distance: float) -> NDArray[np.int64]:
    """Pairs i < j of observations that are equal byte for byte, or within a Euclidean distance.

    Returns:
        (pairs, 2), ordered by j, then i.
    """
    values = np.asarray(rows[:]).reshape(len(rows), -1)
    pairs = _equal_pairs(values)
    if distance > 0:
        pairs = np.unique(np.concatenate([pairs, _near_pairs(values, distance)]), axis=0)
    return pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]


def without_duplicates(members: IndexArray, pairs: NDArray[np.int64]) -> IndexArray:
    """The members of a training set that duplicate no kept member of lower index.

    Example:
        0 stands for 1; 2 stays, since it duplicates 1 alone.

        >>> without_duplicates(np.arange(4), np.array([[0, 1], [1, 2]])).tolist()
        [0, 2, 3]
    """
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
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415 -- slow to import, rarely used

    points = values.astype(np.float32)
    near = NearestNeighbors(radius=distance, algorithm="brute").fit(points)
    second, first = scipy.sparse.tril(near.radius_neighbors_graph(), -1).nonzero()
    return np.column_stack([first, second]).astype(np.int64)
