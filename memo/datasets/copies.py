"""Copies among the observations of a data set, in the values that it was given."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memo.datasets.directions import in_few_directions
from memo.datasets.prepared import Prepared
from memo.datasets.rows import Rows, Shares, chunks

NEAR_IMAGES, NEAR_OTHERS = 0.05, 0.01
"""Fraction of the median distance of two observations up to which they are near copies. An image
that was packed anew stays within the first; in few columns, chance brings many within it."""

TRIED_PAIRS = 1000
"""Random pairs of observations, of whose distances the median is taken."""

DIRECTIONS = 12
"""Principal directions that screen pairs."""

MOST_PAIRS, MOST_NUMBERS = 2_000_000, 500_000_000
"""Most pairs that are compared after the screening, and most numbers in them."""

NEAREST, MOST_UNSURE = 6, 2000
"""Neighbours with which each is compared first; most that are compared with all others then."""

EXAMPLES = 10

Pairs = NDArray[np.int64]


@dataclass(frozen=True)
class Copies:
    """Exact and near copies of a data set."""

    first: NDArray[np.int64]
    """(n,): index of the first observation with the same values, its own where there is none."""
    near: int
    """Number of observations that are no exact copies, but near an earlier one."""
    all_compared: bool
    """False where there may be more near copies, since not all pairs were compared."""
    radius: float
    """Distance up to which two observations are near copies."""
    fraction: float
    """The radius as a fraction of the median distance of two observations."""


def first_copies(rows: Rows) -> NDArray[np.int64]:
    """Index of the first observation that has the same values, (n,)."""
    found: dict[bytes, int] = {}
    first = np.empty(len(rows), np.int64)
    rows = rows.levels if isinstance(rows, Shares) else rows
    for part in chunks(len(rows)):
        values = np.ascontiguousarray(rows[part]).reshape(part.stop - part.start, -1)
        if values.dtype.kind == "f":
            values = values + values.dtype.type(0)  # -0 becomes 0, which it equals
        for index, row in enumerate(values, part.start):
            digest = hashlib.blake2b(row.tobytes(), digest_size=20).digest()
            first[index] = found.setdefault(digest, index)
    return first


def find_copies(data: Prepared) -> Copies:
    """Compare the observations of a data set, before any noise was added to them."""
    rows = data.given_values
    first = first_copies(rows)
    fraction, radius = near_radius(data)
    distinct = np.flatnonzero(first == np.arange(len(first)))
    near, all_compared = _near(rows, distinct, radius)
    return Copies(first, near, all_compared, radius, fraction)


def near_radius(data: Prepared) -> tuple[float, float]:
    """Distance up to which two observations are near copies.

    Returns:
        It as a fraction of the median distance of two observations, and itself.
    """
    fraction = NEAR_IMAGES if len(data.shape) == 3 else NEAR_OTHERS
    return fraction, fraction * _median_distance(data.given_values)


def with_copies(data: Prepared) -> Prepared:
    """The data set, with facts about its copies: `copies`, and a line in `notes`."""
    copies = find_copies(data)
    copied = np.flatnonzero(copies.first != np.arange(len(data)))
    ids, labels = (data.observations[name].to_list() for name in ("id", "label"))
    examples = [[ids[i], ids[copies.first[i]]] for i in copied[:EXAMPLES]]
    other = sum(labels[i] != labels[copies.first[i]] for i in copied)
    facts = {
        "exact": len(copied),
        "with_another_label": other,
        "examples": examples,
        "near": copies.near,
        "all_compared": copies.all_compared,
        "near_rule": "not the same values as an earlier observation, but within "
        f"{copies.radius:.4g} of one: {100 * copies.fraction:g}% of the median distance",
    }
    note = _in_words(facts, len(data), copies.fraction)
    notes = [*data.facts.get("notes", []), note]
    return replace(data, facts=data.facts | {"copies": facts, "notes": notes})


def _in_words(facts: dict[str, Any], n: int, fraction: float) -> str:
    exact = f"{facts['exact']:,} of {n:,} observations are exact copies of earlier ones"
    if facts["examples"]:
        copy, original = facts["examples"][0]
        exact += f" ({copy} of {original}{', ...' * (facts['exact'] > 1)})"
    if facts["with_another_label"]:
        exact += f", {facts['with_another_label']:,} of them under another label"
    near = f"{'' if facts['all_compared'] else 'at least '}{facts['near']:,} more nearly are"
    return f"copies: {exact}; {near} (within {100 * fraction:g}% of the median distance)"


def _median_distance(rows: Rows) -> float:
    n = len(rows)
    stream = np.random.default_rng(n)
    first = stream.integers(n, size=TRIED_PAIRS)
    second = (first + stream.integers(1, n, size=TRIED_PAIRS)) % n
    return float(np.median(distances(rows, np.column_stack([first, second]))))


def distances(rows: Rows, pairs: Pairs) -> NDArray[np.float64]:
    """Euclidean distance of each pair, (pairs,)."""
    found = np.empty(len(pairs))
    for part in chunks(len(pairs)):
        one, other = (rows[pairs[part, side]].astype(np.float64) for side in (0, 1))
        found[part] = np.linalg.norm((one - other).reshape(len(one), -1), axis=1)
    return found


def _near(rows: Rows, among: NDArray[np.int64], radius: float) -> tuple[int, bool]:
    """Count those that have one of lower index within a radius.

    Returns:
        The number, and False where there may be more, since not all pairs were compared.
    """
    from scipy.spatial import KDTree  # noqa: PLC0415 -- slow to import, for `prepare` alone

    if radius == 0 or len(among) < 2:
        return 0, True
    points = in_few_directions(rows, among, DIRECTIONS)
    reach = radius * (1 + 1e-6) + 1e-12 * float(np.abs(points).max())
    most = min(MOST_PAIRS, MOST_NUMBERS // int(np.prod(rows.shape[1:])))
    tree = KDTree(points)
    asked = min(NEAREST + 1, len(among))
    _, found = tree.query(points, k=asked, distance_upper_bound=reach)
    one, place = np.nonzero(found < len(among))
    pairs = np.column_stack([found[one, place], one])
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    compared = pairs[:most]
    near = np.zeros(len(among), bool)
    near[compared[distances(rows, among[compared]) <= radius, 1]] = True
    # some may have more neighbours than were asked for; where none was near, all are compared
    unsure = np.flatnonzero((found < len(among)).all(1) & ~near)[
        : len(among) * (asked < len(among))
    ]
    complete = len(pairs) <= most and len(unsure) <= MOST_UNSURE
    if complete and len(unsure):
        counts = tree.query_ball_point(points[unsure], reach, return_length=True)
        complete = int(np.sum(counts)) <= most
    if complete and len(unsure):
        every = tree.query_ball_point(points[unsure], reach)
        listed = [(i, j) for j, of in zip(unsure, every, strict=True) for i in of if i < j]
        pairs = np.array(listed, np.int64).reshape(-1, 2)
        near[pairs[distances(rows, among[pairs]) <= radius, 1]] = True
    return int(near.sum()), complete
