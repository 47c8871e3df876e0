"""Observations in a few principal directions, in which no two are further apart than they are."""

import numpy as np
from numpy.typing import NDArray

from memo.datasets.rows import Rows, chunks

SAMPLED = 500
"""Observations of which principal directions are taken."""


def in_few_directions(rows: Rows, among: NDArray[np.int64], directions: int) -> NDArray[np.float64]:
    """Coordinates whose Euclidean distances are lower bounds of those between observations.

    With P x the first coordinates of x along orthonormal directions, and r(x) = |x - P x| what is
    left of it,

        |a - b|^2 >= |P a - P b|^2 + (r(a) - r(b))^2

    by Pythagoras and the triangle inequality, with equality where a = b: copies are never apart.

    Args:
        rows: Values of the observations, (n, *shape).
        among: Those of them that coordinates are of, (m,).
        directions: Number of directions; no more are taken than there are numbers in a row.

    Returns:
        (m, directions + 1).

    Example:
        >>> points = np.array([[0.0, 3.0], [0.0, -3.0], [4.0, 0.0], [-4.0, 0.0]])
        >>> few = in_few_directions(points, np.arange(4), 1)
        >>> np.linalg.norm(few - few[0], axis=1).round(9).tolist()
        [0.0, 0.0, 5.0, 5.0]
    """
    sampled = np.unique(np.linspace(0, len(among) - 1, SAMPLED).astype(int))
    sample = rows[among[sampled]].astype(np.float64).reshape(len(sampled), -1)
    mean = sample.mean(0)
    axes = np.linalg.svd(sample - mean, full_matrices=False)[2][:directions]
    found = np.empty((len(among), len(axes) + 1))
    for part in chunks(len(among)):
        centred = rows[among[part]].astype(np.float64).reshape(-1, len(mean)) - mean
        found[part, :-1] = centred @ axes.T
        found[part, -1] = np.linalg.norm(centred - found[part, :-1] @ axes, axis=1)
    return found
