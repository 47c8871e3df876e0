"""Influence between records: what one record's log density owes to another's presence."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy
from numpy.typing import NDArray
from PIL import Image

from memo.artifacts.files import ArtifactError
from memo.attacks.influence import (
    INFLUENCE,
    explained_by_neighbors,
    influences,
    pairs_in_words,
)
from memo.datasets.pictures import pictures
from memo.design.k_fold import FoldModel, k_fold_models
from memo.design.subsets import subset_models
from memo.experiments.attacked.near_records import influence_of_neighbors, twin_data
from memo.experiments.log_likelihoods import scored_densities
from memo.experiments.record_contents import record_data
from memo.pipeline.attack import attack
from memo.pipeline.neighbors import neighbors
from memo.pipeline.report import report
from memo.pipeline.sample import sample
from memo.report.pairs.twins import twins
from memo.samples.nearest_others import nearest_others
from memo.samples.registered import SCHEMA
from memo.scores.aggregate import memorization_scores
from memo.scores.groups import group_scores
from memo.scores.significance import moderated_std_error
from memo.spec.scoring_specs import KFoldSpec, SubsetsSpec
from tests.in_process import Scored, scored_experiments

Floats = NDArray[np.float64]
HALVES = SubsetsSpec(kind="subsets", fraction=0.5, models=40)


def tables(models: list[FoldModel], n: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Marks of the observations that each model was trained on, and its block."""
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
    table = explained_by_neighbors(found, np.ones(200), np.ones(200, bool), scores)
    assert table.columns == [*INFLUENCE]
    assert found["significant"][:40].all()
    assert found["significant"][40:].sum() <= 8
    # M is half of the 6 nats, since the other twin is there half of the time
    assert scores[:40].mean() == pytest.approx(3, abs=0.5)
    assert found["own"][:40].mean() == pytest.approx(0, abs=0.3)
    assert found["joint"][:40].mean() == pytest.approx(6, abs=0.3)
    np.testing.assert_allclose(found["joint"], found["own"] + found["influence"])
    assert table["explained"][:40].sum() >= 36
    assert not table["explained"][40:].any()
    assert (table["memorization"] == scores).all()


def test_k_fold_of_three_repeats_cannot_tell_and_says_so() -> None:
    design = KFoldSpec(kind="k-fold", folds=10, repeats=3)
    inside, block = tables(k_fold_models(design, 200, 0), 200)
    log_p = np.random.default_rng(0).normal(size=inside.shape)
    pairs = np.array([[i, (i + 1) % 200] for i in range(200)])
    found = influences(log_p, 0 * log_p, inside, block, pairs)
    told = found["influence"].count()
    assert told == ((found["with_neither"] > 0) & (found["with_neighbor"] > 0)).sum()
    assert 0.15 < told / 200 < 0.4  # 1 - 0.9^3
    # of the three models that hold a record out, two on either side would be four
    assert not found["std_error"].count()
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
        found = nearest_others(rows, 3)
        assert (found.index != np.arange(60)[:, None]).all()
        np.testing.assert_allclose(found.distance, np.sort(distances, 1)[:, :3])
        np.testing.assert_allclose(np.take_along_axis(distances, found.index, 1), found.distance)
        assert found.proven.all()
    few = nearest_others(np.array([[0.0], [1.0], [1.0]]), 3)
    assert few.index.tolist() == [[1, 2], [2, 0], [1, 0]]


def test_screened_neighbors_are_exact_where_they_say_so() -> None:
    draw = np.random.default_rng(8)
    shape = np.concatenate([np.full(20, 2.0), np.full(100, 0.6)])  # more than the directions
    rows = (shape * draw.normal(size=(1100, 120)) + 1e3).astype(np.float32)
    rows[700:720] = rows[100:120]  # copies
    rows[720:740] = rows[120:140] + draw.normal(0, 1e-3, (20, 120)).astype(np.float32)
    exact = nearest_others(rows, 3)
    found = nearest_others(rows, 3, exact=0)
    same = found.index == exact.index
    assert same[found.proven].all()
    np.testing.assert_array_equal(found.distance[same], exact.distance[same])
    assert found.proven[700:740, 0].all()
    assert 0.1 < found.proven.mean() < 0.9
    assert same.mean() > 0.98
    assert "Near records are the nearest of 32 candidates" in words_of(found.proven)


def words_of(proven: NDArray[np.bool_]) -> str:
    """Words on the page where these of the near records are proven to be the nearest."""
    n, count = proven.shape
    columns = {name: [None] * proven.size for name in INFLUENCE}
    columns |= {"index": np.repeat(np.arange(n), count), "proven": proven.ravel()}
    return twin_data(pl.DataFrame(columns, schema=INFLUENCE)).words


# Real runs, with planted copies and near twins.

SPEC = """\
files:
  pictures:
    {kind: image-folder, path: pictures, channels: 1, values: continuous}
  people: {kind: table, path: people.csv, id: name}
experiments:
  pictures: &one
    dataset: pictures
    model: {kind: kde, bandwidth: 0.4}
    training: {}
    mitigations: []
    scoring: {design: {kind: subsets, fraction: 0.5, models: 40}, epochs: []}
    seed: 1
  pictures-k-fold:
    <<: *one
    scoring: {design: {kind: k-fold, folds: 10, repeats: 3}, epochs: []}
  pictures-together:
    <<: *one
    scoring: {design: {kind: k-fold, folds: 10, repeats: 3, together: near-duplicates}, epochs: []}
  people: {<<: *one, dataset: people}
"""
COUNT, TWINS = 24, 4
"""Observations; the first of them have a twin at the end, half of these exact copies."""


def plant(folder: Path) -> None:
    """A folder of images of 4 x 4, and a table of five columns, each with twins."""
    draw = np.random.default_rng(8)
    levels = draw.integers(0, 200, (COUNT, 4, 4), np.uint8)
    levels = np.concatenate([levels, levels[:TWINS]])
    levels[-TWINS // 2 :] += draw.integers(0, 3, (TWINS // 2, 4, 4), np.uint8)
    (folder / "pictures").mkdir()
    for i, level in enumerate(levels):
        Image.fromarray(level).save(folder / "pictures" / f"{i:02d}.png")
    numbers = 4 * draw.normal(size=(COUNT, 5)).round(2)
    numbers = np.concatenate([numbers, numbers[:TWINS]])
    numbers[-TWINS // 2 :] += 0.01
    table = pl.DataFrame(numbers, schema=[*"abcde"], orient="row")
    table.with_columns(name=pl.format("n{}", pl.int_range(pl.len()))).write_csv(
        folder / "people.csv"
    )


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Scored]]:
    """Experiments on planted twins, scored."""
    folder = tmp_path_factory.mktemp("planted")
    plant(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield scored_experiments(folder, SPEC)


def found_in(scored: Scored) -> pl.DataFrame:
    experiment = scored[0]
    densities = scored_densities(experiment)
    likelihoods = [experiment.read_log_likelihoods(density) for density in densities]
    return influence_of_neighbors(experiment, likelihoods, experiment.read_scores())


@pytest.mark.parametrize("name", ["pictures", "people"])
def test_planted_twins_are_flagged_with_their_twins(planted: dict[str, Scored], name: str) -> None:
    table = found_in(planted[name])
    flagged = table.filter("explained").select("index", "neighbor").rows()
    twins = [(i, COUNT + i) for i in range(TWINS)]
    assert sorted(flagged) == sorted([*twins, *((j, i) for i, j in twins)])
    assert len(table) == 3 * (COUNT + TWINS)


def test_scores_of_twins_are_low_unless_held_out_together(planted: dict[str, Scored]) -> None:
    twins = [*range(TWINS), *range(COUNT, COUNT + TWINS)]
    others = np.setdiff1d(np.arange(COUNT + TWINS), twins)
    alone, together = (
        planted[name][1]["memorization"].to_numpy()
        for name in ("pictures-k-fold", "pictures-together")
    )
    assert (alone[twins] < 1).sum() == TWINS  # the others shared a fold with their twin by chance
    assert np.median(alone[others]) > 20
    assert (together[twins] > 2 * alone[twins]).all()
    assert np.median(together[twins]) > 20
    scores = planted["pictures-together"][0].read_scores()
    sets = group_scores(scores)
    assert sets is not None
    assert sets["memorization"].sum() == pytest.approx(together.sum())
    assert sets.filter(pl.col("records") == 2)["group"].sort().to_list() == [
        f"{i:02d}.png" for i in range(TWINS)
    ]


def test_pairs_stand_side_by_side_in_pictures_or_columns(planted: dict[str, Scored]) -> None:
    for name in ("pictures", "people"):
        experiment, scores = planted[name]
        data = twin_data(found_in(planted[name]))
        images, records = pictures(experiment.data), None
        if images is None:
            records = record_data(experiment.data, pl.DataFrame(schema=SCHEMA), None)
        shown = twins(data, scores, images, records)
        assert len(shown.pairs) == 2 * TWINS
        assert f"{2 * TWINS} observations are explained by a near record" in shown.words
        exact = next(pair for pair in shown.pairs if pair.id in ("00.png", "n0"))
        if images is not None:
            assert exact.image == exact.neighbor_image != shown.pairs[-1].image is not None
        else:
            assert [column["name"] for column in exact.columns] == [*"abcde"]
            assert all(column["value"] == column["other"] for column in exact.columns)


def test_the_stage_writes_pairs_and_the_page_shows_them(planted: dict[str, Scored]) -> None:
    experiment, _ = planted["people"]
    attack(experiment)
    table = experiment.read_influence()
    assert table.equals(found_in(planted["people"]))
    sample(experiment)
    neighbors(experiment)
    report(experiment)
    page = (experiment.layout.report("people") / "index.html").read_text()
    assert page.count('id="twins"') == 1
    for i in range(TWINS):
        assert f'<span class="id">n{i}</span> beside <span class="id">n{COUNT + i}</span>' in page
    other, _ = planted["pictures"]
    experiment.layout.influence("pictures").write_bytes(
        experiment.layout.influence("people").read_bytes()
    )
    with pytest.raises(ArtifactError, match="belongs to another spec; run: memo attack pictures"):
        other.read_influence()
    wrong = table.with_columns(neighbor=pl.lit(COUNT + TWINS, pl.Int64))
    experiment.influence_file().write(wrong)
    with pytest.raises(ArtifactError, match="observations that are not there"):
        experiment.read_influence()


def test_what_k_fold_can_tell_is_said_and_closed_forms_tell_nothing(
    planted: dict[str, Scored],
) -> None:
    found = found_in(planted["pictures-k-fold"])
    assert "this design cannot tell" in twin_data(found).words
    empty = pl.DataFrame(schema=INFLUENCE)
    assert "closed form" in twin_data(empty).words
    shown = twins(twin_data(empty), planted["pictures"][1], None, None)
    assert shown.pairs == []
    assert not shown.with_intervals
