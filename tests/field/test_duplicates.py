"""Copies are found in what was given, before noise; `deduplicate` drops them and says so."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import memo
from memo.datasets.arrays import prepare_array
from memo.datasets.copies import find_copies, first_copies
from memo.datasets.prepared import DataError, content_hash, restored, stored
from memo.datasets.registry import prepare_dataset
from memo.design.duplicates import Duplicates
from memo.mitigations.data.deduplicate import DeduplicateSpec
from memo.spec.dataset_specs import ImageFolderSpec, SyntheticSpec, TableSpec
from tests.conftest import command
from tests.in_process import load, scored_experiments

VALUES = ["binary", "levels", "continuous"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """40 different images, 10 copies of the first ten, and 5 that were packed anew as JPEG."""
    stream = np.random.default_rng(0)
    pictures = [
        Image.fromarray(stream.integers(0, 256, (4, 4), np.uint8)).resize((32, 32))
        for _ in range(40)
    ]
    for index, picture in enumerate(pictures):
        picture.save(tmp_path / f"a{index:02d}.png")
    for index in range(10):
        pictures[index].save(tmp_path / f"b{index:02d}.bmp")
    for index in range(5):
        pictures[index + 20].save(tmp_path / f"c{index:02d}.jpg", quality=90)
    return tmp_path


@pytest.mark.parametrize("values", VALUES)
def test_images_that_repeat_others_are_counted_whatever_noise_is_added(folder, values) -> None:
    spec = ImageFolderSpec(kind="image-folder", path=str(folder), channels=1, values=values)
    data = prepare_dataset(spec)
    assert data.facts["copies"]["exact"] == 10
    assert data.facts["copies"]["near"] == 5
    assert data.facts["copies"]["all_compared"]
    assert data.facts["copies"]["examples"][0] == ["b00.bmp", "a00.png"]
    assert data.facts["notes"][-1] == (
        "copies: 10 of 55 observations are exact copies of earlier ones (b00.bmp of a00.png, ...); "
        "5 more nearly are (within 5% of the median distance)"
    )
    kept = Duplicates(data.given_values, 0.0).without(np.arange(55))
    assert kept.tolist() == [*range(40), *range(50, 55)]
    radius = find_copies(data).radius
    assert Duplicates(data.given_values, radius).without(np.arange(55)).tolist() == [*range(40)]


def test_a_table_in_which_every_record_stands_twice(tmp_path: Path) -> None:
    stream = np.random.default_rng(1)
    rows = [f"{stream.integers(1000)},{stream.choice(list('ab'))}" for _ in range(60)]
    rows = list(dict.fromkeys(rows))
    (tmp_path / "t.csv").write_text("\n".join(["x,k", *rows, *rows]) + "\n")
    spec = TableSpec(kind="table", path=str(tmp_path / "t.csv"), dequantize={"x": 1.0})
    data = prepare_dataset(spec)
    assert len(np.unique(data.scored[:, 0])) > 1.5 * len(rows)  # noise parts the copies
    assert data.facts["copies"]["exact"] == len(rows)
    kept = Duplicates(data.given_values, 0.0).without(np.arange(2 * len(rows)))
    assert kept.tolist() == list(range(len(rows)))


def test_drawn_points_arrays_and_negative_zeros() -> None:
    points = prepare_dataset(SyntheticSpec(kind="synthetic", count=50, outliers=3, duplicates=8))
    assert points.facts["copies"]["exact"] == 8
    assert points.facts["copies"]["with_another_label"] == 8
    assert first_copies(np.array([[0.0, 1], [-0.0, 1], [1, 0.0], [1, -0.0]])).tolist() == [
        0, 0, 2, 2,
    ]  # fmt: skip
    values = np.arange(24.0).reshape(12, 2)
    values[7] = values[2]
    data = prepare_array(values, [f"id {i}" for i in range(12)], None)
    assert data.facts["copies"]["examples"] == [["id 7", "id 2"]]


def test_near_copies_are_those_of_all_pairs() -> None:
    stream = np.random.default_rng(2)
    values = stream.normal(size=(300, 20)).astype(np.float32)
    values[200:240] = (
        values[:40] + stream.normal(size=(40, 20)) * np.geomspace(1e-4, 1, 40)[:, None]
    )
    data = prepare_array(values, None, None)
    copies = find_copies(data)
    apart = np.linalg.norm(values[:, None].astype(float) - values[None], axis=-1)
    near = np.tril(apart <= copies.radius, -1).any(1)
    assert copies.near == near.sum() > 10
    assert copies.all_compared
    distances = apart[np.triu_indices(300, 1)]
    assert copies.radius == pytest.approx(0.01 * np.median(distances), rel=0.1)


SPEC = """\
datasets:
  pictures: {{kind: image-folder, path: {folder}, channels: 1, values: {values}}}
experiments:
  plain: &plain
    dataset: pictures
    mitigations: []
    seed: 1
    model: {{kind: vae, network: {{kind: mlp, hidden: [8]}}, latent: 2, observation: {model}}}
    training: {{epochs: 1, batch_size: 16}}
    scoring:
      design: {{kind: k-fold, folds: 2, repeats: 2}}
      epochs: [1]
      likelihood: {{kind: importance, samples: 4}}
  fewer:
    <<: *plain
    mitigations: [{{kind: deduplicate}}]
"""


@pytest.mark.parametrize(("values", "model"), [("binary", "bernoulli"), ("continuous", "gaussian")])
def test_a_project_says_what_was_found_and_dropped(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys, values: str, model: str
) -> None:
    project = tmp_path_factory.mktemp("project")
    found = scored_experiments(project, SPEC.format(folder=folder, values=values, model=model))
    experiment, scores = found["fewer"]
    assert (
        "fewer: deduplicate leaves 10 of 55 observations out of training" in capsys.readouterr().err
    )
    assert len(experiment.full_model.members) == 45
    facts = experiment.read_scores().facts
    assert (facts["exact_duplicates"], facts["left_out_as_duplicates"]) == ("10", "10")
    plain = found["plain"][1]
    assert (plain["log_p_in"] != scores["log_p_in"]).any()
    for model_plan in experiment.models[:-1]:  # of each group, one of those in the training set
        first = first_copies(experiment.data.given_values)
        inside = np.setdiff1d(np.arange(55), model_plan.held_out)
        assert sorted(first[model_plan.members]) == sorted(set(first[inside].tolist()))


def test_data_that_an_earlier_memo_prepared_are_refused_with_the_cure(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = tmp_path_factory.mktemp("project")
    (project / "params.yaml").write_text(
        SPEC.format(folder=folder, values="binary", model="bernoulli")
    )
    command(project, "memo", "expand")
    said = command(project, "memo", "prepare", "pictures").stdout
    assert "10 of 55 observations are exact copies of earlier ones" in said
    facts = project / "data" / "prepared" / "pictures" / "dataset.json"
    facts.write_text(facts.read_text().replace('"copies"', '"other"'))
    load(project, "plain")
    with pytest.raises(memo.MemoError, match="--single-item prepare@pictures"):
        load(project, "fewer")


def test_the_librarys_page_counts_duplicates(tmp_path: Path) -> None:
    stream = np.random.default_rng(4)
    values = np.repeat(stream.normal(size=(30, 2)), 2, axis=0)
    measured = memo.measure(
        values, {"kind": "kde", "bandwidth": 0.5}, mitigations=[{"kind": "deduplicate"}],
        design={"kind": "subsets", "fraction": 0.5, "models": 20}, workers=1,
    )  # fmt: skip
    assert measured.facts["left_out_as_duplicates"] == "30"
    measured.report(tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "30 of 60 observations are exact copies of earlier ones (1 of 0, ...)" in page
    assert "The full model is trained on 30, without 30 duplicates" in page


def test_values_as_given_are_kept_in_files_and_are_part_of_the_hash(folder: Path) -> None:
    data = prepare_dataset(ImageFolderSpec(kind="image-folder", path=str(folder), channels=1))
    arrays, form = stored(data)
    again = restored(arrays, form, data.observations, data.facts)
    np.testing.assert_array_equal(again.given_values[:], data.given_values[:])
    changed = arrays["given"].copy()
    changed[0, 0, 0, 0] ^= 1
    other = restored(arrays | {"given": changed}, form, data.observations, data.facts)
    assert content_hash(again) == content_hash(data) != content_hash(other)
    with pytest.raises(DataError, match="do not fit those that are scored"):
        restored(arrays | {"given": changed[1:]}, form, data.observations, data.facts)


def test_without_duplicates_the_page_says_that_nothing_changes() -> None:
    title, words = DeduplicateSpec.paragraph(
        {"exact_duplicates": 0, "left_out_as_duplicates": 0}, pl.DataFrame({"index": range(7)}),
        density=True,
    )  # fmt: skip
    assert title == "Duplicates"
    assert words.startswith("None of 7 observations duplicates another: models are what they are")


def test_near_copies_among_many_neighbours_are_found_too() -> None:
    """Noise in 200 dimensions, of which 12 show almost nothing: the screen lets all pairs pass."""
    stream = np.random.default_rng(7)
    values = stream.normal(size=(400, 1, 20, 10)).astype(np.float32)
    values[390:] = values[:10] + 0.01 * stream.normal(size=(10, 1, 20, 10))
    values[200:, ..., 0] *= 30  # two scales, so that the radius is wide for the first half
    copies = find_copies(prepare_array(values, None, None))
    apart = np.linalg.norm(
        (values[:, None].astype(float) - values[None]).reshape(400, 400, -1), axis=-1
    )
    assert copies.near == np.tril(apart <= copies.radius, -1).any(1).sum()
    assert copies.all_compared
