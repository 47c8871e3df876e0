"""Numbers that were different, and are the same once they are stored with fewer digits."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARE = 0.05
"""Share of a column's different numbers that may become equal, beside those that must by chance."""

BY_CHANCE = 2.0**-23
"""For each of so many numbers: share of standardized uniform numbers that become equal in float32,
whose 24 bits hold some 16 million of them."""


@dataclass(frozen=True)
class Merged:
    """Different numbers of a column before and after a conversion."""

    before: int
    after: int

    @property
    def too_many(self) -> bool:
        """True where the conversion changed the data, and not only their last digits."""
        lost = self.before - self.after
        return lost > self.before * (SHARE + BY_CHANCE * self.before)

    def __str__(self) -> str:
        return f"{self.before:,} different numbers become {self.after:,}"


def merged(exact: NDArray[Any], stored: NDArray[Any]) -> Merged | None:
    """Count different numbers before and after a conversion; None where none became equal.

    Args:
        exact: (n,) numbers as they were given, finite.
        stored: (n,) the same, converted.

    Example:
        >>> given = np.array([1.0, 2.0, 3.0, 1e20])
        >>> found = merged(given, (given / given.std()).astype(np.float32) + np.float32(1))
        >>> str(found), found.too_many
        ('4 different numbers become 2', True)
    """
    before, after = len(np.unique(exact)), len(np.unique(stored))
    return Merged(before, after) if after < before else None


def first_merged(
    exact: NDArray[Any], stored: NDArray[Any]
) -> tuple[tuple[int, ...], Merged] | None:
    """Find the first entry of observations where a conversion made too many numbers equal.

    Args:
        exact: (n, *shape) numbers as they were given, finite.
        stored: (n, *shape) the same, converted.

    Returns:
        Its place in `shape`, and the counts; None where there is none.
    """
    if exact.dtype.itemsize <= stored.dtype.itemsize and exact.dtype.kind == stored.dtype.kind:
        return None
    shape = exact.shape[1:]
    columns = zip(exact.reshape(len(exact), -1).T, stored.reshape(len(stored), -1).T, strict=True)
    for place, (given, kept) in enumerate(columns):
        found = merged(given, kept)
        if found is not None and found.too_many:
            return tuple(int(i) for i in np.unravel_index(place, shape)), found
    return None
