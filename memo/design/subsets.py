"""Random subsets, drawn in rounds that hold out each observation equally often."""

import math

import numpy as np

from memo.design.blocks import blocks
from memo.design.k_fold import FoldModel, IndexArray
from memo.design.seeds import Stream, seed_sequence
from memo.spec.scoring_specs import SubsetsSpec

__all__ = ["subset_models", "subset_round"]


def subset_models(design: SubsetsSpec, observations: int, seed: int) -> list[FoldModel]:
    """All models of a design, round by round (Feldman & Zhang 2020, section 3, but balanced).

    A round is drawn from the seed and its number alone, so that more models leave the others as
    they are. Blocks of the jackknife are made of so many models that each has every observation
    on both sides.
    """
    size = design.round_size
    shares = design.models // design.share
    of_share = blocks(shares)
    return [
        FoldModel(
            repeat,
            fold,
            held_out,
            of_share[min((repeat * size + fold) // design.share, shares - 1)],
        )
        for repeat in range(design.models // size)
        for fold, held_out in enumerate(subset_round(design, observations, seed, repeat))
    ]


def subset_round(
    design: SubsetsSpec, observations: int, seed: int, repeat: int
) -> list[IndexArray]:
    """What each model of a round holds out, sorted: those held out least often so far in the round.

    Which of them is drawn at random. With a fraction of 1 - 1/K and n a multiple of K, every K
    models are a partition, as in K-fold cross-validation; with 1/2, every two are complementary.
    """
    stream = np.random.Generator(np.random.PCG64(seed_sequence(seed, Stream.PARTITION, repeat)))
    size = held_out_size(design, observations)
    count = np.zeros(observations, np.int64)
    parts = []
    for _ in range(design.round_size):
        order = stream.permutation(observations)
        part = np.sort(order[np.argsort(count[order], kind="stable")[:size]])
        count[part] += 1
        parts.append(part)
    return parts


def held_out_size(design: SubsetsSpec, observations: int) -> int:
    """Observations that each model holds out: the smaller side of a split is rounded up."""
    smaller = math.ceil(round(min(design.fraction, 1 - design.fraction) * observations, 6))
    return smaller if design.fraction >= 0.5 else observations - smaller
