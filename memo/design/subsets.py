"""Random subsets, drawn in rounds that hold out each observation equally often."""

import math

import numpy as np

from memo.design.blocks import blocks
from memo.design.k_fold import FoldModel, IndexArray
from memo.design.seeds import Stream, seed_sequence
from memo.spec.scoring_specs import SubsetsSpec


def subset_models(
    design: SubsetsSpec, observations: int, seed: int, sets: IndexArray | None = None
) -> list[FoldModel]:
    """All models of a design, round by round (Feldman & Zhang 2020, section 3, but balanced).

    A round is drawn from the seed and its number alone, model after model, so that more models
    leave the others as they are; the last round may have its first models alone. A block of the
    jackknife has so many models that each observation is held out by some of them and not by
    others; as many are a company, and no company has models of two blocks.

    Args:
        design: Fraction and number of models.
        observations: Number of observations, n.
        seed: Seed of the experiment.
        sets: Number of the set that each observation belongs to, 0 ... s-1, (n,), where sets are
            held out whole.
    """
    size = design.round_size
    shares = max(1, design.models // design.share)
    block = blocks(shares)
    company = [model // design.share for model in range(design.models)]
    places = [divmod(model, size) for model in range(design.models)]
    rounds = [
        subset_round(design, observations, seed, repeat)
        if sets is None
        else subset_round_of_sets(design, sets, seed, repeat)
        for repeat in range(-(-design.models // size))
    ]
    return [
        FoldModel(repeat, fold, rounds[repeat][fold], block[min(own, shares - 1)], own)
        for (repeat, fold), own in zip(places, company, strict=True)
    ]


def subset_round(
    design: SubsetsSpec, observations: int, seed: int, repeat: int
) -> list[IndexArray]:
    """Held-out indices of each model of a round, sorted.

    Each model holds out the observations held out least often so far in the round, ties broken at
    random. With a fraction of 1 - 1/K and n a multiple of K, every K models are a partition, as in
    K-fold cross-validation; with 1/2, every two are complementary.

    Example:
        >>> design = SubsetsSpec(kind="subsets", fraction=0.5, models=10)
        >>> first, second, *_ = subset_round(design, observations=6, seed=0, repeat=0)
        >>> sorted([*first.tolist(), *second.tolist()])
        [0, 1, 2, 3, 4, 5]
    """
    stream = np.random.Generator(np.random.PCG64(seed_sequence(seed, Stream.PARTITION, repeat)))
    # the smaller side of a split is rounded up, but for errors of floating point
    smaller = math.ceil(round(min(design.fraction, 1 - design.fraction) * observations, 6))
    size = smaller if design.fraction >= 0.5 else observations - smaller
    count = np.zeros(observations, np.int64)
    parts = []
    for _ in range(design.round_size):
        order = stream.permutation(observations)
        part = np.sort(order[np.argsort(count[order], kind="stable")[:size]])
        count[part] += 1
        parts.append(part)
    return parts


def subset_round_of_sets(
    design: SubsetsSpec, sets: IndexArray, seed: int, repeat: int
) -> list[IndexArray]:
    """Held-out indices of each model of a round, sorted, where sets are held out whole.

    Each model holds out the sets held out least often so far in the round, ties broken at random:
    as many as bring the number of observations that the round has held out nearest to what it
    should be by then, and never none or all. The numbers of times that two sets are held out differ
    by at most one; sizes of subsets, by at most about the size of the largest set.

    Args:
        design: Fraction and number of models.
        sets: Number of the set that each observation belongs to, 0 ... s-1, (n,), s > 1.
        seed: Seed of the experiment.
        repeat: Number of the round.

    Example:
        >>> design = SubsetsSpec(kind="subsets", fraction=0.5, models=10)
        >>> first, second, *_ = subset_round_of_sets(design, np.array([0, 1, 0, 1]), 0, repeat=0)
        >>> sorted([first.tolist(), second.tolist()])
        [[0, 2], [1, 3]]
    """
    stream = np.random.Generator(np.random.PCG64(seed_sequence(seed, Stream.PARTITION, repeat)))
    sizes = np.bincount(sets)
    count = np.zeros(len(sizes), np.int64)
    parts, taken = [], 0
    for model in range(1, design.round_size + 1):
        order = stream.permutation(len(sizes))
        order = order[np.argsort(count[order], kind="stable")]
        wanted = model * (1 - design.fraction) * len(sets)
        missed = np.abs(taken + np.cumsum(sizes[order])[:-1] - wanted).round(6)
        chosen = order[: 1 + np.argmin(missed)]
        count[chosen] += 1
        taken += int(sizes[chosen].sum())
        parts.append(np.flatnonzero(np.isin(sets, chosen)))
    return parts
