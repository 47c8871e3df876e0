"""Observations that duplicate others: not trained on, or held out together."""

import numpy as np
import scipy
from numpy.typing import NDArray

from memo.datasets.copies import distances, first_copies
from memo.datasets.directions import in_few_directions
from memo.datasets.rows import Rows
from memo.design.k_fold import IndexArray

DIRECTIONS = 48
"""Principal directions that screen pairs."""

TILE = 2048
"""Observations that are compared with as many others at a time: 16 MiB."""


class Duplicates:
    """Duplicates among observations: those with equal values, or within a Euclidean distance.

    Args:
        rows: Values of the observations.
        distance: Largest distance of two duplicates; 0 for equal values alone.
    """

    def __init__(self, rows: Rows, distance: float) -> None:
        self.first = first_copies(rows)
        """Index of the first observation with the same values, (n,)."""
        distinct = np.flatnonzero(self.first == np.arange(len(self.first)))
        self._near = _near_pairs(rows, distinct, distance)

    def without(self, members: IndexArray) -> IndexArray:
        """The members of a training set that duplicate no member of lower index that stays.

        Example:
            0 stands for 1; 2 stays, since it duplicates 1 alone.

            >>> points = np.array([[0.0], [1.0], [2.0]])
            >>> Duplicates(points, distance=1.0).without(np.arange(3)).tolist()
            [0, 2]
        """
        # Of members with equal values only the first can stay: what it duplicates, all of them do.
        groups, places = np.unique(self.first[members], return_index=True)
        if not len(self._near):
            return members[np.sort(places)]
        member = dict(zip(groups.tolist(), members[places].tolist(), strict=True))
        pairs = [
            (min(member[a], member[b]), max(member[a], member[b]))
            for a, b in self._near.tolist()
            if a in member and b in member
        ]
        kept = set(member.values())
        for first, second in sorted(pairs):
            if first in kept:
                kept.discard(second)
        return members[np.isin(members, sorted(kept))]

    def sets(self) -> IndexArray:
        """Number of the set that each observation belongs to, (n,): 0 ... s-1, in order.

        Duplicates are in one set, and so are duplicates of one observation, and so on: the
        connected components of the graph of pairs.

        Example:
            >>> points = np.array([[0.0], [5.0], [1.0], [2.0]])
            >>> Duplicates(points, distance=1.0).sets().tolist()
            [0, 1, 0, 0]
        """
        own = np.arange(len(self.first))
        first, second = np.concatenate([np.column_stack([self.first, own]), self._near]).T
        pairs = scipy.sparse.coo_array((np.ones(len(first)), (first, second)), 2 * own.shape)
        labels = scipy.sparse.csgraph.connected_components(pairs, directed=False)[1]
        return np.asarray(labels, np.int64)


def _near_pairs(rows: Rows, among: IndexArray, distance: float) -> NDArray[np.int64]:
    """Pairs of observations within a distance, (pairs, 2), the lower index first.

    Lower bounds of distances by a few principal directions, with allowance for their rounding to
    float32 (as in `memo.samples.nearest`), leave few pairs, of which all numbers decide.
    """
    if distance == 0 or len(among) < 2:
        return np.empty((0, 2), np.int64)
    points = in_few_directions(rows, among, DIRECTIONS)
    scale = float(np.abs(points).max()) or 1.0
    few = (points / scale).astype(np.float32)
    half = np.square(few).sum(1) / 2
    reach = np.sqrt(2 * half) + np.sqrt(2 * half.max())
    rounding = (few.shape[1] + 5) * 2.0**-24
    limit = np.square(distance / scale) / 2 + 2 * rounding * np.square(reach) - half
    found = []
    for start in range(0, len(few), TILE):
        own = slice(start, start + TILE)
        for other in range(0, start + TILE, TILE):
            bounds = half[other : other + TILE] - few[own] @ few[other : other + TILE].T
            later, earlier = np.nonzero(bounds <= limit[own, None])
            pairs = np.column_stack([earlier + other, later + start])
            pairs = among[pairs[pairs[:, 0] < pairs[:, 1]]]
            found.append(pairs[distances(rows, pairs) <= distance])
    return np.concatenate(found)
