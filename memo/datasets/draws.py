"""Random draws of some of a source's observations, in the proportions of their labels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memo.datasets.prepared import DataError

NAMED = 5
"""Labels without any observation that are named."""

SPAWN_KEY = (1 << 31,)
"""Spawn key of the draw's stream: no other stream of a data set's seed has it."""


def drawn_order(labels: Sequence[str | None], seed: int) -> NDArray[np.int64]:
    """Positions in an order whose first k are a stratified random draw, for every k.

    The j-th of the m observations of a label, in a random order of their own, comes at the place
    (j + u) / m of the whole, with one uniform u for each label. So up to any place stands the same
    share of each label, to within one observation, and a label of few has the chance of all others.

    Args:
        labels: Of each observation; those without one are drawn as if they shared a label.
        seed: Seed of the data set.

    Returns:
        A permutation of 0 ... n-1. The first k are among the first k + 1.

    Example:
        >>> labels = ["a"] * 9 + ["b"] * 9
        >>> sorted(labels[place] for place in drawn_order(labels, seed=0)[:4])
        ['a', 'a', 'b', 'b']
    """
    stream = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=SPAWN_KEY))
    place = np.empty(len(labels))
    strata: dict[str | None, list[int]] = {}
    for position, label in enumerate(labels):
        strata.setdefault(label, []).append(position)
    for positions in strata.values():
        among = stream.permutation(len(positions))
        place[positions] = (among + stream.random()) / len(positions)
    return np.argsort(place, kind="stable").astype(np.int64)


def drawn(labels: Sequence[str | None], limit: int | None, seed: int) -> NDArray[np.int64]:
    """Positions of at most `limit` observations, drawn as `drawn_order` says, ascending.

    Args:
        labels: Of each observation of the source.
        limit: How many to draw; all when None.
        seed: Seed of the data set.
    """
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    return np.sort(drawn_order(labels, seed)[:limit])


def drawn_groups(groups: Sequence[str], limit: int | None, seed: int) -> NDArray[np.int64]:
    """Positions of at most `limit` observations, ascending: whole groups, drawn at random.

    Groups come in a random order, until the next one has more than are left to draw. A group of
    many has the chance of all others.

    Args:
        groups: Of each observation of the source.
        limit: How many to draw at most; all when None.
        seed: Seed of the data set.

    Raises:
        DataError: The first group alone has more.

    Example:
        >>> groups = ["a", "b", "a", "b", "c"]
        >>> sorted(groups[place] for place in drawn_groups(groups, limit=3, seed=0))
        ['a', 'a', 'c']
    """
    if limit is None or limit >= len(groups):
        return np.arange(len(groups))
    stream = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=SPAWN_KEY))
    number = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    own = np.array([number[group] for group in groups])
    order = stream.permutation(len(number))
    sizes = np.bincount(own)[order]
    if sizes[0] > limit:
        raise DataError(
            f"a `limit` of {limit:,} is fewer than the {sizes[0]:,} observations of group "
            f"{list(number)[order[0]]!r:.60}, which is drawn first and whole; raise it"
        )
    chosen = order[np.cumsum(sizes) <= limit]
    return np.flatnonzero(np.isin(own, chosen))


def limit_notes(
    kept: Sequence[int] | NDArray[np.int64],
    labels: Sequence[str | None],
    seed: int,
    groups: Sequence[str] | None = None,
) -> list[str]:
    """Say how many observations of a source were drawn, and which labels have none of them.

    Args:
        kept: Positions of those that were drawn.
        labels: Of each observation of the source.
        seed: Seed of the data set.
        groups: Of each observation of the source, where whole groups were drawn.

    Returns:
        A line for the `notes` of a data set; none where all observations were kept.

    Example:
        >>> limit_notes([0], ["a", "b", None], seed=0)  # doctest: +ELLIPSIS
        ["limit: 1 of 3, drawn at random from seed 0, ...; 1 of 2 labels has none ('b')"]
    """
    if len(kept) >= len(labels):
        return []
    every = dict.fromkeys(label for label in labels if label is not None)
    drawn_labels = {labels[position] for position in kept}
    without = [label for label in every if label not in drawn_labels]
    words = f"limit: {len(kept):,} of {len(labels):,}, drawn at random from seed {seed}"
    if groups is not None:
        drawn_from = len({groups[position] for position in kept})
        words += f", in {drawn_from:,} whole groups of {len(set(groups)):,}"
    elif len(set(labels)) > 1:
        words += ", in the proportions of their labels"
    if without:
        named = ", ".join(f"{label!r:.60}" for label in without[:NAMED])
        more = f" and {len(without) - NAMED:,} more" * (len(without) > NAMED)
        verb = "has" if len(without) == 1 else "have"
        words += f"; {len(without):,} of {len(every):,} labels {verb} none ({named}{more})"
    return [words]
