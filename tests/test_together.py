"""Sets of observations that are held out together: groups, and near-duplicates."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import memo
from benchmarks import groups as benchmark
from memo.artifacts.layout import Layout
from memo.artifacts.tables import OBSERVATIONS, read_table
from memo.cli import app
from memo.datasets.arrays import prepare_array
from memo.datasets.draws import drawn_groups
from memo.datasets.prepared import DataError, Prepared, content_hash
from memo.datasets.registry import prepare_dataset
from memo.design.k_fold import partition
from memo.design.plan import plan_design
from memo.design.seeds import Stream, seed_sequence
from memo.design.subsets import subset_round_of_sets
from memo.design.together import numbered, sets_of
from memo.errors import InputError
from memo.pipeline.attack import attack
from memo.pipeline.neighbors import neighbors
from memo.pipeline.prepare import read_prepared
from memo.pipeline.report import report
from memo.pipeline.sample import sample
from memo.scores.groups import group_scores
from memo.scores.table import Scores
from memo.spec.dataset_specs import ImageFolderSpec, TableSpec
from memo.spec.scoring_specs import KFoldSpec, LeaveOneOutSpec, SubsetsSpec
from tests.conftest import examples
from tests.in_process import scored_experiments

IntArray = NDArray[np.int64]
sets_of_three = st.lists(st.integers(0, 11), min_size=12, max_size=60).map(
    lambda drawn: np.unique([*range(12), *drawn], return_inverse=True)[1]
)


@examples(30)
@given(sets=sets_of_three, folds=st.integers(2, 12), seed=st.integers(0, 2**62))
def test_sets_stay_whole_in_parts_of_about_one_size(sets: IntArray, folds: int, seed: int) -> None:
    parts = partition(len(sets), folds, seed, 3, sets)
    assert (np.sort(np.concatenate(parts)) == np.arange(len(sets))).all()
    assert all(set(sets[part]).isdisjoint(np.delete(sets, part)) for part in parts)
    sizes = [len(part) for part in parts]
    assert min(sizes) > 0
    assert max(sizes) - min(sizes) <= np.bincount(sets).max()
    again = partition(len(sets), folds, seed, 3, sets)
    assert all((a == b).all() for a, b in zip(parts, again, strict=True))


def test_which_sets_share_a_part_is_drawn_at_random() -> None:
    """Two sets, all of one size, share one of K parts with probability (s/K - 1) / (s - 1)."""
    sets, folds, repeats = np.repeat(np.arange(8), 3), 4, 1000
    together = np.zeros((8, 8))
    for repeat in range(repeats):
        for part in partition(24, folds, 0, repeat, sets):
            together[np.ix_(np.unique(sets[part]), np.unique(sets[part]))] += 1
    rate = together[~np.eye(8, dtype=bool)] / repeats
    assert np.abs(rate - 1 / 7).max() < 5 * np.sqrt(6 / 49 / repeats)


def test_without_sets_a_partition_is_what_it_was() -> None:
    for n, folds, seed, repeat in ((50, 5, 3, 0), (101, 10, 0, 7)):
        sequence = seed_sequence(seed, Stream.PARTITION, repeat)
        order = np.random.Generator(np.random.PCG64(sequence)).permutation(n)
        expected = np.array_split(order, folds)
        found = partition(n, folds, seed, repeat)
        assert all((np.sort(a) == b).all() for a, b in zip(expected, found, strict=True))
    design = KFoldSpec(kind="k-fold", together="nothing")
    expected = {"kind": "k-fold", "folds": 10}
    assert plan_design(design, 50, 0).determinants == expected


@pytest.mark.parametrize(("fraction", "every"), [(0.5, 2), (0.75, 4), (0.7, 10)])
def test_subsets_hold_out_sets_whole_and_equally_often(fraction: float, every: int) -> None:
    sets = np.repeat(np.arange(30), np.random.default_rng(0).integers(1, 6, 30))
    design = SubsetsSpec(kind="subsets", fraction=fraction, models=20)
    for repeat in range(5):
        parts = subset_round_of_sets(design, sets, seed=1, repeat=repeat)
        held_out = np.array([np.isin(np.arange(len(sets)), part) for part in parts])
        assert all(len(np.unique(held_out[:, sets == one], axis=1).T) == 1 for one in range(30))
        for models in range(1, len(parts) + 1):
            assert np.ptp(held_out[:models].sum(0)) <= 1
        assert np.ptp(held_out[:every].sum(0)) == 0
        assert np.abs(held_out.mean(1) - (1 - fraction)).max() <= 5 / len(sets)
    plan_design(design, len(sets), 0)


def test_a_large_set_is_neither_all_nor_none_of_a_subset() -> None:
    sets = np.array([0] * 90 + [*range(1, 11)])
    design = SubsetsSpec(kind="subsets", fraction=0.9, models=10)
    sizes = [len(part) for part in subset_round_of_sets(design, sets, 0, 0)]
    assert min(sizes) > 0
    assert max(sizes) < 100


# Scores of twins, with a density that is known.

BANDWIDTH, FOLDS, REPEATS = 0.2, 4, 3
KDE = {"kind": "kde", "bandwidth": BANDWIDTH}
DESIGN = {"kind": "k-fold", "folds": FOLDS, "repeats": REPEATS}
COUNT, TWINS = 40, 12
N = COUNT + TWINS


def with_twins() -> tuple[NDArray[np.float64], list[str]]:
    """Points, of which the last are exact copies or near twins of the first."""
    points = np.random.default_rng(5).normal(size=(COUNT, 2)).round(3)
    points[:TWINS, 0] += 5 * np.arange(1, TWINS + 1)  # far from all but their twins
    offset = np.repeat([0, 1e-3], TWINS // 2)[:, None]
    people = [f"p{i}" for i in range(COUNT)]
    return np.concatenate([points, points[:TWINS] + offset]), people + people[:TWINS]


def log_kde(points: NDArray[np.float64], training: IntArray) -> NDArray[np.float64]:
    """log p of all points, as the definition says."""
    squares = np.square(points[:, None] - points[training]).sum(-1)
    logs = -squares / (2 * BANDWIDTH**2) - np.log(2 * np.pi * BANDWIDTH**2)
    return np.asarray(scipy.special.logsumexp(logs, axis=1) - np.log(len(training)))


@pytest.fixture(scope="module")
def measured() -> dict[str, memo.Measured]:
    points, people = with_twins()
    ways: dict[str, dict[str, Any]] = {
        "groups": {"groups": people},
        "nothing": {"groups": people, "together": "nothing"},
        "near-duplicates": {"together": "near-duplicates", "distance": 0.01},
    }
    return {
        name: memo.measure(
            points, KDE, groups=way.pop("groups", None), design=DESIGN | way, workers=1
        )
        for name, way in ways.items()
    }


def test_twins_hide_each_other_unless_they_are_held_out_together(
    measured: dict[str, memo.Measured],
) -> None:
    pairs = np.arange(TWINS)[:, None] + [0, COUNT]
    scores = {name: m.last["memorization"].to_numpy()[pairs] for name, m in measured.items()}
    shared = [
        any(set(pair) <= set(part) for r in range(REPEATS) for part in partition(N, FOLDS, 0, r))
        for pair in pairs.tolist()
    ]
    assert shared.count(False) >= 2
    # one of two copies left: a factor of about two, and what becomes of 1 / n
    assert scores["nothing"][~np.array(shared)].max() < np.log(4)
    assert scores["groups"].min() > 10
    assert (scores["near-duplicates"] == scores["groups"]).all()


def test_scores_with_groups_held_out_are_what_the_definition_says(
    measured: dict[str, memo.Measured],
) -> None:
    points, people = with_twins()
    sums: dict[bool, NDArray[np.float64]] = {True: np.zeros(N), False: np.zeros(N)}
    for repeat in range(REPEATS):
        for part in partition(N, FOLDS, 0, repeat, numbered(pl.Series(people))):
            out = np.isin(np.arange(N), part)
            log_p = log_kde(np.float32(points).astype(float), np.flatnonzero(~out))
            for held_out in (True, False):
                sums[held_out] += np.where(out == held_out, log_p, 0)
    expected = sums[False] / (REPEATS * (FOLDS - 1)) - sums[True] / REPEATS
    found = measured["groups"].last["memorization"].to_numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_group_has_the_sum_of_its_records_and_its_jackknife(
    measured: dict[str, memo.Measured],
) -> None:
    scores, table = measured["groups"].last, measured["groups"].groups
    assert table is not None
    assert measured["nothing"].groups is None
    assert table["memorization"].is_sorted(descending=True)
    assert len(table) == COUNT
    for row in table.iter_rows(named=True):
        of_group = scores.filter(group=row["group"])
        assert row["records"] == len(of_group)
        assert row["memorization"] == pytest.approx(of_group["memorization"].sum())
        assert row["largest"] == of_group["memorization"].max()
        without = np.sum(of_group["memorization_without_repeat"].to_list(), 0)
        spread = (REPEATS - 1) / REPEATS * np.square(without - without.mean()).sum()
        assert row["std_error"] == pytest.approx(np.sqrt(spread), abs=1e-9)
        assert row["low"] <= row["memorization"] <= row["high"]


def test_the_order_of_records_does_not_matter_to_groups(
    measured: dict[str, memo.Measured],
) -> None:
    scores = Scores(measured["groups"].scores, measured["groups"].facts)
    order = np.random.default_rng(0).permutation(len(scores))
    found = group_scores(replace(scores, table=scores.table[order]))
    expected = group_scores(scores)
    assert found is not None
    assert expected is not None
    assert found["group"].equals(expected["group"])
    for name in ("memorization", "low", "std_error"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-12)


def test_groups_that_near_duplicates_join_are_one_set() -> None:
    """a and b share an exact copy, c has one of its own, and d is alone."""
    points = np.array([[0.0], [5.0], [0.0], [9.0], [13.0], [13.0], [20.0]])
    data = memo_data(points, ["a", "a", "b", "b", "c", "c", "d"])
    sets = sets_of(KFoldSpec(kind="k-fold", folds=2, together="near-duplicates"), data)
    assert sets is not None
    assert sets.of.tolist() == [0, 0, 0, 0, 1, 1, 2]
    assert sets.names == ["a", "a", "a", "a", "c", "c", "d"]
    assert "2 sets of near-duplicates" in sets.words


def test_without_near_duplicates_models_are_what_they_were() -> None:
    data = memo_data(np.arange(8.0)[:, None], None)
    design = KFoldSpec(kind="k-fold", folds=2, together="near-duplicates")
    assert sets_of(design, data) is None
    near = memo_data(np.array([[0.0], [1.0], [5.0], [9.0]]), None)
    wider = sets_of(design.model_copy(update={"distance": 1.0}), near)
    assert wider is not None
    assert wider.of.tolist() == [0, 0, 1, 2]


def memo_data(points: NDArray[np.float64], groups: list[str] | None) -> Prepared:
    """Points in memory as a data set."""
    return prepare_array(points, None, None, groups)


@pytest.mark.parametrize(
    ("design", "groups", "message"),
    [
        ({"kind": "k-fold", "folds": 5}, ["a", "a", "b", "b", "c", "c"], "5 folds are more than"),
        ({"kind": "k-fold", "folds": 2, "together": "groups"}, None, "there are none"),
        ({"kind": "leave-one-out"}, ["a", "a", "b", "b", "c", "c"], "must be held out whole"),
        ({"kind": "k-fold", "folds": 2}, ["a"] * 6, "all 6 observations are of one group, 'a'"),
        ({"kind": "k-fold", "folds": 2}, ["a", None, *"bbcc"], "groups: observation 1 has none"),
        ({"kind": "k-fold", "folds": 2}, [None] * 6, "groups: observation 0 has none"),
        ({"kind": "k-fold", "distance": 1.0}, None, "near-duplicates` alone"),
        (
            {"kind": "k-fold", "folds": 2, "together": "near-duplicates", "distance": 9.0},
            None,
            "all 6 observations are in one set",
        ),
    ],
)
def test_what_cannot_be_held_out_is_refused(
    design: dict[str, object], groups: list[str | None] | None, message: str
) -> None:
    points = np.arange(6.0)[:, None]
    with pytest.raises(InputError, match=message):
        memo.measure(points, KDE, design=design, groups=groups, workers=1)


def test_groups_of_one_each_leave_nothing_to_refuse() -> None:
    data = memo_data(np.arange(6.0)[:, None], [*"abcdef"])
    assert sets_of(LeaveOneOutSpec(kind="leave-one-out"), data) is None


# Groups of tables and image folders.


def visits(folder: Path, change: Callable[[pl.DataFrame], pl.DataFrame] = lambda t: t) -> Path:
    """A table of 24 persons with one to four records each."""
    draw = np.random.default_rng(2)
    person = np.repeat(np.arange(24), 1 + np.arange(24) % 4)
    own = draw.normal(size=(24, 2))[person]
    table = pl.DataFrame(
        {
            "person": [f"{i:02d}" for i in person],
            "height": own[:, 0] + 0.01 * draw.normal(size=len(person)),
            "weight": own[:, 1] + 0.01 * draw.normal(size=len(person)),
        }
    )
    change(table[draw.permutation(len(table))]).write_csv(folder / "visits.csv")
    return folder / "visits.csv"


def test_a_column_of_groups_is_not_modelled_and_limits_keep_it_whole(tmp_path: Path) -> None:
    path = str(visits(tmp_path))
    data = prepare_dataset(TableSpec(kind="table", path=path, group="person"))
    assert data.columns is not None
    assert [column.name for column in data.columns] == ["height", "weight"]
    sizes = dict(data.observations["group"].value_counts().iter_rows())
    some = prepare_dataset(TableSpec(kind="table", path=path, group="person", limit=30))
    kept = dict(some.observations["group"].value_counts().iter_rows())
    assert all(sizes[group] == count for group, count in kept.items())
    assert 26 < len(some) <= 30
    assert any(f"in {len(kept)} whole groups of 24" in note for note in some.facts["notes"])
    ungrouped = replace(data, observations=data.observations.with_columns(group=pl.lit(None, str)))
    assert content_hash(ungrouped) != content_hash(data)


def test_each_group_is_drawn_as_often_whatever_its_size() -> None:
    groups = [*"aaaaaaaa", *"bb", *"cc", *"dd", *"ee", *"ff"]
    times = dict.fromkeys("abcdef", 0)
    for seed in range(600):
        for group in {groups[place] for place in drawn_groups(groups, 17, seed)}:
            times[group] += 1
    assert max(times.values()) - min(times.values()) < 80


@pytest.mark.parametrize(
    ("options", "change", "message"),
    [
        ({"group": "persn"}, lambda t: t, "did you mean 'person'"),
        (
            {"group": "person"},
            lambda t: t.with_columns(
                person=pl.when(pl.int_range(pl.len()) != 3).then(pl.col("person"))
            ),
            "record 4: has no group; give each record one",
        ),
        ({"group": "person"}, lambda t: t.with_columns(person=pl.lit("x")), "of one group, 'x'"),
        ({"group": "person", "limit": 1}, lambda t: t.filter(pl.col("person") == "03"), "raise it"),
    ],
)
def test_columns_that_are_no_groups_are_refused(
    tmp_path: Path,
    options: dict[str, object],
    change: Callable[[pl.DataFrame], pl.DataFrame],
    message: str,
) -> None:
    path = visits(tmp_path, change)
    with pytest.raises(DataError, match=message):
        prepare_dataset(TableSpec.model_validate({"kind": "table", "path": str(path)} | options))


def portraits(folder: Path) -> Path:
    """Twelve images of six persons in two folders, with the file of their persons among them."""
    draw = np.random.default_rng(4)
    names = [f"{'ab'[i % 2]}/{i:02d}.png" for i in range(12)]
    for i, name in enumerate(names):
        (folder / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        levels = np.full((4, 4), 20 * i, np.uint8) + draw.integers(0, 9, (4, 4), np.uint8)
        Image.fromarray(levels).save(folder / "faces" / name)
    table = pl.DataFrame({"file": names, "group": [f"person {i // 2}" for i in range(12)]})
    table[::-1].write_csv(folder / "faces" / "groups.csv")
    return folder / "faces"


def faces(folder: Path, **options: object) -> Prepared:
    spec = {"kind": "image-folder", "path": str(folder), "channels": 1, "groups": "groups.csv"}
    return prepare_dataset(ImageFolderSpec.model_validate(spec | options))


def test_a_file_of_groups_lies_among_the_images(tmp_path: Path) -> None:
    folder = portraits(tmp_path)
    table = faces(folder).observations
    assert table["id"].to_list() == sorted(table["id"])
    for name, group in table.select("id", "group").iter_rows():
        assert group == f"person {int(name[2:4]) // 2}"
    some = faces(folder, limit=7).observations
    assert len(some) == 6
    assert some["group"].value_counts()["count"].to_list() == [2, 2, 2]
    notes = faces(folder, limit=7).facts["notes"]
    assert any("in 3 whole groups of 6" in note for note in notes)
    assert not any("other files, not read" in note for note in notes)
    shutil.copy(folder / "groups.csv", folder / "more.csv")
    assert any("not read: 1 (1 .csv)" in note for note in faces(folder).facts["notes"])


def test_files_of_groups_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = portraits(tmp_path)
    file = folder / "groups.csv"
    table = pl.read_csv(file)
    for written, message in (
        (table[1:], "has no group of b/11.png"),
        (table.rename({"file": "name"}), "has no column 'file' \\(columns: 'name', 'group'\\)"),
        (pl.concat([table, table[:1]]), "'b/11.png' is named twice"),
        (table.with_columns(group=pl.lit("all")), "of one group, 'all'"),
    ):
        written.write_csv(file)
        with pytest.raises(DataError, match=message):
            faces(folder)
    with pytest.raises(DataError, match="must be a path below the folder"):
        faces(folder, groups="../groups.csv")
    with pytest.raises(DataError, match="no such file"):
        faces(folder, groups="people.csv")


SPEC = """\
files:
  visits: {kind: table, path: visits.csv, group: person}
experiments:
  visits: &one
    dataset: visits
    model: {kind: gaussian-mixture, components: 3}
    training: {}
    mitigations: []
    scoring: {design: {kind: k-fold, folds: 4, repeats: 2}, epochs: []}
    seed: 1
  alone:
    <<: *one
    scoring: {design: {kind: k-fold, folds: 4, repeats: 2, together: nothing}, epochs: []}
"""


def test_a_project_with_groups_scores_them_and_lists_them_on_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = scored_experiments(tmp_path, SPEC)
    experiment, table = found["visits"]
    assert table.select("id", "group").equals(experiment.data.observations.select("id", "group"))
    for model in experiment.models:
        inside = set(table["group"].gather(model.members))
        assert inside.isdisjoint(table["group"].gather(model.held_out))
    scores = experiment.read_scores()
    sample(experiment)
    neighbors(experiment)
    found_groups = attack(experiment).results.of_groups
    assert found_groups is not None
    assert found_groups.observations == 24
    assert found_groups.epsilon is None
    report(experiment)
    page = (experiment.layout.report("visits") / "index.html").read_text()
    listed = group_scores(scores)
    assert listed is not None
    assert page.count("The most memorized groups") == 1
    assert all(f">{group}<" in page for group in listed["group"])
    assert "24 groups are held out whole, the largest of 4 observations" in page
    assert "adds up their log p: the same attacks on the sums, of 24 groups" in page
    shown = json.loads(CliRunner().invoke(app, ["show", "visits", "--json", "--top", "3"]).output)
    assert shown["groups"] == listed.head(3).to_dicts()
    words = CliRunner().invoke(app, ["show", "visits"]).output
    assert all(group in words for group in listed["group"][:10])
    alone, _ = found["alone"]
    assert group_scores(alone.read_scores()) is None
    in_part = attack(alone).results.of_groups
    assert in_part is not None
    assert "may have trained on a part of one" in str(in_part.reason)
    words = CliRunner().invoke(app, ["attack", "alone"]).output
    assert "Groups are not attacked: groups are not held out whole" in " ".join(words.split())
    assert "Groups found in visits" in CliRunner().invoke(app, ["attack", "visits"]).output
    assert alone.models[0].fingerprint != experiment.models[0].fingerprint


def test_data_sets_of_an_earlier_memo_have_no_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits(tmp_path)
    monkeypatch.chdir(tmp_path)
    spec = SPEC[: SPEC.index("  alone:")].replace(", group: person", ", drop: [person]")
    found = scored_experiments(tmp_path, spec)
    data, _ = read_prepared(Layout(tmp_path), "visits")
    file = Layout(tmp_path).prepared("visits") / "observations.parquet"
    assert pl.read_parquet(file).columns == [*OBSERVATIONS]
    assert data.observations["group"].null_count() == len(data)
    assert read_table(file, OBSERVATIONS)[0].equals(data.observations.drop("group"))
    assert found["visits"][1]["group"].null_count() == len(data)


def test_the_benchmark_of_groups_runs_and_finds_persons_understated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMO_WORKERS", "1")
    draw = np.random.default_rng(9)
    person = np.repeat(np.arange(40), 3)
    values = draw.normal(size=(40, len(benchmark.COLUMNS)))[person]
    values += 0.1 * draw.normal(size=values.shape)
    table = pl.DataFrame(values, schema=benchmark.COLUMNS, orient="row").with_columns(zper=person)
    table.write_csv(tmp_path / "hie.csv")
    benchmark.main([str(tmp_path / "hie.csv"), "--records", "90", "--models", "kde"])
    head, row = capsys.readouterr().out.splitlines()
    assert head.startswith("90 records of 30 persons")
    whole, alone, ratio = (float(cell.split()[0]) for cell in row.split("|")[2:5])
    assert ratio == pytest.approx(alone / whole, abs=0.01)
    assert ratio < 0.5
