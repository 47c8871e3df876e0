"""Seeds of all random streams of an experiment, from its own seed and the stream's position."""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """Purposes of streams: the first element of their spawn keys."""

    PARTITION = 0
    FOLD_MODEL = 1
    FULL_MODEL = 2
    LIKELIHOOD = 3
    SAMPLES = 4
    ILLUSTRATION = 5
    CHECK = 6
    COMMON = 7
    """Streams that the models of a company have in common, by its number."""


def seed_sequence(seed: int, stream: Stream, *position: int) -> np.random.SeedSequence:
    """Seeds of a stream, independent of those of every other purpose and position."""
    return np.random.SeedSequence(seed, spawn_key=(int(stream), *position))


def substreams(sequence: np.random.SeedSequence, count: int) -> list[np.random.SeedSequence]:
    """Independent children of a stream; unlike those of `spawn`, the same ones at every call."""
    return [substream(sequence, child) for child in range(count)]


def substream(sequence: np.random.SeedSequence, *position: int) -> np.random.SeedSequence:
    """One of the independent children of a stream, or of their children, by its position."""
    return np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, *position))


def torch_seed(sequence: np.random.SeedSequence) -> int:
    """A seed for a torch.Generator, which takes 63 bits."""
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
