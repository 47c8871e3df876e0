"""Influence between records: what one record's log density owes to another's presence."""

import numpy as np
import pytest
import scipy
from numpy.typing import NDArray

from memo.attacks.influence import (
    INFLUENCE,
    explained_by_neighbors,
    influences,
    pairs_in_words,
)
from memo.datasets.copies import nearest_others
from memo.design.k_fold import FoldModel, k_fold_models
from memo.design.subsets import subset_models
from memo.scores.aggregate import memorization_scores
from memo.scores.significance import moderated_std_error
from memo.spec.scoring_specs import KFoldSpec, SubsetsSpec

Floats = NDArray[np.float64]
HALVES = SubsetsSpec(kind="subsets", fraction=0.5, models=40)


def tables(models: list[FoldModel], n: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which observations each model was trained on, and its block."""
    inside = np.array([~np.isin(np.arange(n), model.held_out) for model in models])
    return inside, np.array([model.block for model in models])


def log_kde(points: Floats, inside: NDArray[np.bool_], width: float) -> Floats:
    """log p of all points under the kernel density of each training set."""
    squares = np.square(points[:, None] - points[None]).sum(-1)
    logs = -squares / (2 * width**2) - points.shape[1] / 2 * np.log(2 * np.pi * width**2)
    return np.array(
        [scipy.special.logsumexp(logs[:, one], axis=1) - np.log(one.sum()) for one in inside]
    )


def test_a_twin_far_from_all_others_has_an_influence_that_is_known() -> None:
    """m records of training: of m - 1 at distance d, and the twin; or of m at d."""
    width, distance, n = 0.5, 2.0, 20
    points = np.zeros((n, 1))
    points[[3, 8]] = distance
    inside, block = tables(subset_models(HALVES, n, 0), n)
    log_p = log_kde(points, inside, width)
    found = influences(log_p, 0 * log_p, inside, block, np.array([[3, 8], [8, 3], [0, 1]]))
    m, share = n // 2, np.exp(-(distance**2) / (2 * width**2))
    expected = np.log((1 + (m - 1) * share) / (m * share))
    # the nine others at the origin stand for one another, but for the twins that are in training
    np.testing.assert_allclose(found["influence"][:2], expected, rtol=1e-12)
    np.testing.assert_allclose(found["std_error"][:2], 0, atol=1e-12)
    joint = np.log((2 + (m - 2) * share) / (m * share))
    np.testing.assert_allclose(found["joint"][:2], joint, rtol=1e-12)
    assert found["significant"].to_list()[:2] == [True, True]
    assert abs(found["influence"][2]) < 0.2


def test_influence_is_what_plain_loops_say() -> None:
    draw = np.random.default_rng(1)
    n = 15
    points = draw.normal(size=(n, 2))
    inside, block = tables(subset_models(HALVES, n, 3), n)
    log_p = log_kde(points, inside, 0.3)
    pairs = np.array([[i, (i + 4) % n] for i in range(n)])
    found = influences(log_p, 0 * log_p, inside, block, pairs)
    for (i, j), row in zip(pairs.tolist(), found.iter_rows(named=True), strict=True):
        sides: dict[tuple[bool, bool], list[float]] = {}
        for values, one in zip(log_p, inside, strict=True):
            sides.setdefault((bool(one[i]), bool(one[j])), []).append(values[i])
        means = {side: sum(values) / len(values) for side, values in sides.items()}
        neither = means[False, False]
        assert (row["index"], row["neighbor"]) == (i, j)
        assert row["with_neighbor"] == len(sides[False, True])
        assert row["with_neither"] == len(sides[False, False])
        assert row["influence"] == pytest.approx(means[False, True] - neither)
        assert row["joint"] == pytest.approx(means[True, True] - neither)


def test_errors_are_those_of_means_of_blocks() -> None:
    """With one model of a side in each of its blocks, the jackknife is that of two means."""
    draw = np.random.default_rng(2)
    models = 12
    log_p = draw.normal(size=(models, 2))
    inside = np.zeros((models, 2), bool)
    inside[:7, 1] = True
    found = influences(log_p, 0 * log_p, inside, np.arange(models), np.array([[0, 1]]))
    sides = log_p[:7, 0], log_p[7:, 0]
    expected = np.sqrt(sum(side.var(ddof=1) / len(side) for side in sides))
    assert found["std_error"][0] == pytest.approx(expected)
    assert found["joint"][0] is None


def test_freedom_of_each_pair_is_moderated_as_one_for_all() -> None:
    errors = np.sqrt(np.random.default_rng(0).chisquare(3, 200) / 3)
    one, total = moderated_std_error(errors, 3)
    each, totals = moderated_std_error(errors, np.full(200, 3.0))
    np.testing.assert_allclose(each, one, rtol=1e-12)
    np.testing.assert_allclose(totals, total, rtol=1e-12)
    mixed, _ = moderated_std_error(np.r_[errors, errors], np.repeat([3.0, 30.0], 200))
    assert np.ptp(mixed[:200]) < np.ptp(mixed[200:])  # what is known better is moderated less


@pytest.mark.parametrize(
    "models",
    [
        subset_models(HALVES, 300, 0),
        k_fold_models(KFoldSpec(kind="k-fold", folds=4, repeats=12), 300, 0),
    ],
    ids=["subsets", "k-fold"],
)
def test_records_without_influence_are_rarely_said_to_have_some(models: list[FoldModel]) -> None:
    draw = np.random.default_rng(3)
    inside, block = tables(models, 300)
    noise = draw.gamma(4, size=300)
    pairs = np.array([[i, (i + 1) % 300] for i in range(300)])
    some, small = 0, []
    for _ in range(20):
        log_p = noise * draw.normal(size=inside.shape)
        found = influences(log_p, 0 * log_p, inside, block, pairs)
        some += bool(found["significant"].any())
        small.append((found["p_value"].drop_nulls() < 0.05).mean())
    assert some <= 4  # 1 of 20 is expected
    assert np.mean(small) == pytest.approx(0.05, abs=0.02)


def test_planted_influence_is_found_among_pairs_without() -> None:
    draw = np.random.default_rng(4)
    inside, block = tables(subset_models(HALVES, 200, 0), 200)
    log_p = draw.normal(size=inside.shape)
    for i in range(0, 40, 2):  # either of two twins is enough
        twins = (inside[:, i] | inside[:, i + 1])[:, None]
        log_p[:, i : i + 2] += 6 * twins
    pairs = np.array([[i, i ^ 1] for i in range(200)])
    found = influences(log_p, 0 * log_p, inside, block, pairs)
    scores = memorization_scores(log_p, 0 * log_p, inside, block, "mean-log").memorization
    table = explained_by_neighbors(found, np.ones(200), scores, threshold=3.5)
    assert table.columns == [*INFLUENCE]
    assert found["significant"][:40].all()
    assert found["significant"][40:].sum() <= 8
    # M is half of the 6 nats, since the other twin is there half of the time
    assert scores[:40].mean() == pytest.approx(3, abs=0.5)
    low = scores <= 3.5
    assert (table["explained"].to_numpy()[:40] == low[:40]).all()
    assert low[:40].sum() > 20
    assert not table["explained"][40:].any()


def test_k_fold_of_three_repeats_cannot_tell_and_says_so() -> None:
    design = KFoldSpec(kind="k-fold", folds=10, repeats=3)
    inside, block = tables(k_fold_models(design, 200, 0), 200)
    log_p = np.random.default_rng(0).normal(size=inside.shape)
    pairs = np.array([[i, (i + 1) % 200] for i in range(200)])
    found = influences(log_p, 0 * log_p, inside, block, pairs)
    told = found["influence"].count()
    assert told == ((found["with_neither"] > 0) & (found["with_neighbor"] > 0)).sum()
    assert 0.15 < told / 200 < 0.4  # 1 - 0.9^3
    assert found["std_error"].count() < 20
    assert not found["significant"].any()
    words = pairs_in_words(found)
    assert f"Of 200 pairs of near records, models held out both of {told}" in words
    assert "this design cannot tell" in words
    inside, block = tables(subset_models(HALVES, 200, 0), 200)
    log_p = np.random.default_rng(0).normal(size=inside.shape)
    assert "cannot" not in pairs_in_words(influences(log_p, 0 * log_p, inside, block, pairs))


def test_records_that_are_always_held_out_together_have_no_influence_to_tell() -> None:
    sets = np.arange(40) // 2
    design = KFoldSpec(kind="k-fold", folds=4, repeats=3)
    inside, block = tables(k_fold_models(design, 40, 0, sets), 40)
    log_p = np.zeros(inside.shape)
    found = influences(log_p, log_p, inside, block, np.array([[0, 1]]))
    assert found["with_neighbor"][0] == 0
    assert found["influence"][0] is None
    assert not found["significant"][0]


def test_the_order_of_records_and_of_pairs_does_not_matter() -> None:
    draw = np.random.default_rng(6)
    inside, block = tables(subset_models(HALVES, 30, 0), 30)
    log_p = draw.normal(size=inside.shape)
    pairs = np.array([[i, (i + 1) % 30] for i in range(30)])
    order, shuffled = draw.permutation(30), draw.permutation(30)
    place = np.argsort(order)
    first = influences(log_p, 0 * log_p, inside, block, pairs)[shuffled]
    second = influences(log_p[:, order], 0 * log_p, inside[:, order], block, place[pairs[shuffled]])
    for name in ("influence", "std_error", "joint", "p_value"):
        np.testing.assert_allclose(first[name], second[name], rtol=1e-9)


def test_the_nearest_others_are_the_nearest() -> None:
    draw = np.random.default_rng(7)
    for rows in (draw.normal(size=(60, 3)), draw.integers(0, 2, (60, 2, 4)).astype(np.uint8)):
        flat = rows.reshape(60, -1).astype(float)
        distances = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
        np.fill_diagonal(distances, np.inf)
        index, distance = nearest_others(rows, 3)
        assert (index != np.arange(60)[:, None]).all()
        np.testing.assert_allclose(distance, np.sort(distances, 1)[:, :3])
        np.testing.assert_allclose(np.take_along_axis(distances, index, 1), distance)
    few = nearest_others(np.array([[0.0], [1.0], [1.0]]), 3)
    assert few[0].tolist() == [[1, 2], [2, 0], [1, 0]]
