"""Partitions and seeds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memo.design.blocks import MOST_BLOCKS, blocks
from memo.design.k_fold import k_fold_models, partition
from memo.design.plan import plan_design
from memo.design.seeds import Stream, seed_sequence, torch_seed
from memo.design.subsets import subset_models
from memo.spec.scoring_specs import KFoldSpec, SubsetsSpec

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


@given(
    folds=st.integers(4, 15),
    repeats=st.integers(1, 3),
    more=st.integers(0, 30),
    first=st.integers(0, 2),
)
def test_models_without_two_folds_hold_each_observation_out_once(
    folds: int, repeats: int, more: int, first: int
) -> None:
    """Those of fold 0 twice where the number of folds is odd; the models of folds stay theirs."""
    spec = KFoldSpec(kind="k-fold", folds=folds, repeats=repeats, first_repeat=first)
    with_pairs = spec.model_copy(update={"extrapolate": True})
    n = folds + more
    plain, design = (plan_design(one, n, seed=1) for one in (spec, with_pairs))
    assert not plain.smaller_models
    assert plain.determinants == design.determinants
    assert plain.pairing == design.pairing
    for one, other in zip(plain.fold_models, design.fold_models, strict=True):
        assert (one.held_out == other.held_out).all()
    pairs = -(-folds // 2)
    assert len(design.smaller_models) == repeats * pairs == repeats * with_pairs.smaller_models
    for repeat in range(first, first + repeats):
        models = [model for model in design.smaller_models if model.repeat == repeat]
        parts = [model for model in design.fold_models if model.repeat == repeat]
        assert [model.fold for model in models] == [*range(folds, folds + pairs)]
        assert {model.block for model in models} == {model.block for model in parts}
        times = np.bincount(np.concatenate([m.held_out for m in models]), minlength=n)
        expected = np.ones(n)
        expected[parts[0].held_out] += folds % 2
        assert (times == expected).all()


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


def subsets(fraction: float, rounds: int) -> SubsetsSpec:
    """Whole rounds of a fraction, whatever their size."""
    size = SubsetsSpec.model_construct(fraction=fraction).round_size
    return SubsetsSpec(kind="subsets", fraction=fraction, models=rounds * size)


designs = st.tuples(
    st.floats(0.05, 0.95), st.integers(1, 4), st.integers(20, 90), st.integers(0, 2**62)
)


@given(design=designs)
def test_subsets_hold_out_each_observation_equally_often(design: tuple) -> None:
    fraction, rounds, n, seed = design
    spec = subsets(fraction, rounds)
    models = subset_models(spec, n, seed)
    assert len(models) == spec.models
    assert {len(m.held_out) for m in models} <= {int((1 - fraction) * n + s) for s in (0, 1)}
    held_out = np.stack([np.isin(np.arange(n), m.held_out) for m in models])
    for count in held_out.reshape(rounds, -1, n).sum(1):
        assert np.ptp(count) <= 1
        assert 1 <= count.min() <= count.max() < spec.round_size
    assert all((np.diff(m.held_out) > 0).all() for m in models)


@given(design=designs)
def test_raising_models_keeps_the_earlier_subsets(design: tuple) -> None:
    fraction, rounds, n, seed = design
    few, many = (plan_design(subsets(fraction, count), n, seed) for count in (rounds, rounds + 3))
    assert few.determinants == many.determinants
    for a, b in zip(few.fold_models, many.fold_models, strict=False):
        assert (a.repeat, a.fold) == (b.repeat, b.fold)
        assert (a.held_out == b.held_out).all()
    places = {(m.repeat, m.fold) for m in many.fold_models}
    assert len(places) == len(many.fold_models)


def test_subsets_of_a_half_are_complementary_and_of_nine_tenths_are_folds() -> None:
    for fraction, size in ((0.5, 2), (0.9, 10)):
        models = subset_models(subsets(fraction, 3), 40, seed=5)
        for start in range(0, len(models), size):
            together = np.concatenate([m.held_out for m in models[start : start + size]])
            assert (np.sort(together) == np.arange(40)).all()


def test_two_observations_are_held_out_together_as_often_as_any_two() -> None:
    """With h held out of n, a pair has both with probability h (h - 1) / n (n - 1), were models
    drawn by themselves; that each model's margin is uniform makes it so on average."""
    n, rounds = 12, 400
    models = subset_models(subsets(0.7, rounds), n, seed=1)
    held_out = np.stack([np.isin(np.arange(n), m.held_out) for m in models]).astype(float)
    size = held_out.sum(1)
    assert (size == 4).all()
    together = (held_out.T @ held_out / len(models))[~np.eye(n, dtype=bool)]
    expected = 4 * 3 / (n * (n - 1))
    assert np.abs(together - expected).max() < 5 * np.sqrt(expected / len(models))


@given(fraction=st.floats(0.05, 0.95), rounds=st.integers(1, 40))
def test_jackknife_blocks_are_runs_that_leave_both_sides(fraction: float, rounds: int) -> None:
    n = 20
    models = subset_models(subsets(fraction, rounds), n, seed=0)
    block = np.array([m.block for m in models])
    assert (np.diff(block) >= 0).all()
    assert set(block) == set(range(block[-1] + 1))
    assert len(set(block)) <= MOST_BLOCKS
    held_out = np.stack([np.isin(np.arange(n), m.held_out) for m in models])
    if rounds > 1:
        for left_out in set(block):
            rest = held_out[block != left_out]
            assert rest.any(0).all()
            assert not rest.all(0).any()


@given(parts=st.integers(1, 500))
def test_blocks_are_all_parts_in_even_runs(parts: int) -> None:
    lengths = np.bincount(blocks(parts))
    assert lengths.sum() == parts
    assert len(lengths) == min(parts, MOST_BLOCKS)
    assert np.ptp(lengths) <= 1


def test_pairing_needs_the_same_blocks() -> None:
    def pairing(models: int) -> dict:
        return plan_design(SubsetsSpec(kind="subsets", fraction=0.5, models=models), 30, 0).pairing

    assert pairing(20) == pairing(20)
    assert pairing(20) != pairing(40)
