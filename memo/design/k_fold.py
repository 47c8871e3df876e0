"""Repeated K-fold cross-validation."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from memo.design.blocks import blocks
from memo.design.seeds import Stream, seed_sequence
from memo.spec.scoring_specs import KFoldSpec

IndexArray: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class FoldModel:
    """One model to train, by its place in the design."""

    repeat: int
    fold: int
    held_out: IndexArray
    """Indices of observations that it must not be trained on, sorted."""
    block: int
    """Jackknife block: models of one block are left out together."""
    company: int
    """Models of one company, all in one block, have random numbers of training in common."""

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"r{self.repeat:03d}-f{self.fold:03d}"


def k_fold_models(
    design: KFoldSpec, observations: int, seed: int, sets: IndexArray | None = None
) -> list[FoldModel]:
    """All fold models of a design, repeat by repeat (van den Burg & Williams 2021, Algorithm 1).

    Args:
        design: Numbers of folds and repeats.
        observations: Number of observations, n.
        seed: Seed of the experiment.
        sets: As of `partition`.
    """
    block = blocks(design.repeats)
    return [
        FoldModel(repeat, fold, held_out, block[repeat - design.first_repeat], repeat)
        for repeat in range(design.first_repeat, design.first_repeat + design.repeats)
        for fold, held_out in enumerate(partition(observations, design.folds, seed, repeat, sets))
    ]


def pair_models(models: Sequence[FoldModel], folds: int) -> list[FoldModel]:
    """Models that leave out two folds at once, to extrapolate from two sizes of training sets.

    In each repeat, folds 0 and 1, 2 and 3, and so on; the last of an odd number goes with fold 0,
    so that all have one size. Each observation is held out of one (of an odd number, those of
    fold 0 of two) and in all others. Their numbers follow those of the folds.

    Args:
        models: All fold models of a design, repeat by repeat.
        folds: Number of folds, 4 or more.

    Example:
        >>> pairs = pair_models(k_fold_models(KFoldSpec(kind="k-fold", folds=5), 5, seed=0), 5)
        >>> [(pair.repeat, pair.fold, len(pair.held_out)) for pair in pairs[:4]]
        [(0, 5, 2), (0, 6, 2), (0, 7, 2), (1, 5, 2)]
    """
    return [
        replace(
            first,
            fold=folds + first.fold // 2,
            held_out=np.union1d(first.held_out, models[start + (first.fold + 1) % folds].held_out),
        )
        for start in range(0, len(models), folds)
        for first in models[start : start + folds : 2]
    ]


def partition(
    observations: int, folds: int, seed: int, repeat: int, sets: IndexArray | None = None
) -> list[IndexArray]:
    """A random partition of 0 ... n-1 into parts whose sizes differ by at most one, each sorted.

    Sets of observations stay whole where they are given: the largest first, each into the part
    that has the fewest observations so far, ties broken at random (Graham 1969). Sizes then differ
    by at most the size of the largest set.

    Args:
        observations: Number of observations, n.
        folds: Number of parts; of sets, at least as many.
        seed: Seed of the experiment.
        repeat: Number of the partition.
        sets: Number of the set that each observation belongs to, 0 ... s-1, (n,).

    Example:
        >>> sorted(np.concatenate(partition(5, folds=2, seed=0, repeat=0)).tolist())
        [0, 1, 2, 3, 4]
        >>> sets = np.array([0, 1, 0, 1, 1])
        >>> sorted(part.tolist() for part in partition(5, 2, seed=0, repeat=0, sets=sets))
        [[0, 2], [1, 3, 4]]
    """
    stream = np.random.Generator(np.random.PCG64(seed_sequence(seed, Stream.PARTITION, repeat)))
    if sets is not None:
        part = _parts_of_sets(np.bincount(sets), folds, stream)[sets]
        return [np.flatnonzero(part == fold) for fold in range(folds)]
    return [np.sort(part) for part in np.array_split(stream.permutation(observations), folds)]


def _parts_of_sets(sizes: IndexArray, folds: int, stream: np.random.Generator) -> IndexArray:
    """Part of each set, (s,)."""
    order = stream.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    ties = stream.random(folds + len(sizes)).tolist()
    emptiest = [(0, ties.pop(), fold) for fold in range(folds)]
    heapq.heapify(emptiest)
    part = np.empty(len(sizes), np.int64)
    for one, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        filled, _, fold = emptiest[0]
        heapq.heapreplace(emptiest, (filled + size, ties.pop(), fold))
        part[one] = fold
    return part
