"""Random draws of some of a source's observations, in the proportions of their labels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SPAWN_KEY = (1 << 31,)
"""Of the draw's stream: no other stream of a data set's seed has it."""


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


def limit_in_words(kept: int, of: int, labels: Sequence[str | None], seed: int) -> str | None:
    """Say how many observations of a source were kept; None where all were."""
    if kept >= of:
        return None
    shares = ", in the proportions of their labels" if len(set(labels)) > 1 else ""
    return f"limit: {kept:,} of {of:,}, drawn at random from seed {seed}{shares}"


def limit_notes(kept: int, labels: Sequence[str | None], seed: int) -> list[str]:
    """The same of a source with these labels, for the `notes` of a data set."""
    words = limit_in_words(kept, len(labels), labels, seed)
    return [] if words is None else [words]
