"""Which models the jackknife leaves out together."""

__all__ = ["MOST_BLOCKS", "blocks"]

MOST_BLOCKS = 20
"""Intervals hold what they should with any number of blocks, and are 4% wider with 20 than with 100

(`python -m benchmarks.designs --blocks`, docs/designs.md); each block costs one more aggregation of
everything, and one more number for each observation.
"""


def blocks(parts: int) -> list[int]:
    """The block of each of so many parts in order: its own, or that of a run of about equal length.

    Runs may differ in length: to first order, what a block adds to the jackknife's variance is in
    proportion to its length, so that their sum is right.
    """
    count = min(parts, MOST_BLOCKS)
    return [part * count // parts for part in range(parts)]
