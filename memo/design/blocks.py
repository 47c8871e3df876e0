"""Blocks of models that the jackknife leaves out together."""

MOST_BLOCKS = 20
"""Most blocks of a design.

Each block costs one more aggregation of everything and one more number for each observation, and
intervals hold what they should with any number of blocks, at almost the same width
(benchmarks/README.md, design).
"""


def blocks(parts: int) -> list[int]:
    """Block of each of so many parts in order: its own, or that of a run of about equal length.

    Runs may differ in length: to first order, a block adds to the jackknife's variance in
    proportion to its length, so that the sum is right.

    Example:
        >>> blocks(3), max(blocks(100)) + 1
        ([0, 1, 2], 20)
    """
    count = min(parts, MOST_BLOCKS)
    return [part * count // parts for part in range(parts)]
