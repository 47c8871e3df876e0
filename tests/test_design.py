"""Partitions and seeds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memo.design import Stream, k_fold_models, partition, seed_sequence, torch_seed
from memo.spec import KFoldSpec

sizes = st.integers(2, 200).flatmap(lambda n: st.tuples(st.just(n), st.integers(2, n)))


@given(size=sizes, seed=st.integers(0, 2**62), repeat=st.integers(0, 50))
def test_a_partition_covers_each_observation_once_in_even_parts(
    size: tuple[int, int], seed: int, repeat: int
) -> None:
    n, folds = size
    parts = partition(n, folds, seed, repeat)
    assert len(parts) == folds
    assert (np.sort(np.concatenate(parts)) == np.arange(n)).all()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_raising_repeats_keeps_the_earlier_partitions() -> None:
    few, many = (
        k_fold_models(KFoldSpec(kind="k-fold", folds=5, repeats=repeats), 50, seed=3)
        for repeats in (2, 7)
    )
    assert all((a.held_out == b.held_out).all() for a, b in zip(few, many, strict=False))
    assert [(m.repeat, m.fold) for m in many] == [(r, f) for r in range(7) for f in range(5)]


def test_repeats_and_seeds_cut_differently() -> None:
    cuts = {
        tuple(np.concatenate(partition(50, 5, seed, repeat)))
        for seed in range(3)
        for repeat in range(3)
    }
    assert len(cuts) == 9


def test_each_observation_is_held_out_about_equally_often_with_each_other() -> None:
    """Two observations share a fold with probability (n/K - 1) / (n - 1)."""
    n, folds, repeats = 20, 4, 2000
    together = np.zeros((n, n))
    for repeat in range(repeats):
        for part in partition(n, folds, 0, repeat):
            together[np.ix_(part, part)] += 1
    rate = together[~np.eye(n, dtype=bool)] / repeats
    expected = (n / folds - 1) / (n - 1)
    error = np.sqrt(expected * (1 - expected) / repeats)
    assert np.abs(rate - expected).max() < 5 * error


def test_streams_are_distinct() -> None:
    seeds = {
        torch_seed(seed_sequence(0, stream, *position))
        for stream in Stream
        for position in [(), (0,), (1,), (0, 0), (0, 1), (1, 0)]
    }
    assert len(seeds) == len(Stream) * 6
    assert all(0 <= seed < 2**63 for seed in seeds)
