"""Samples of models that were trained elsewhere: scored as memo's own, and what is refused."""

import contextlib
import html
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy
import torch
from PIL import Image
from sklearn.mixture import GaussianMixture

import memo
from memo.artifacts.layout import Layout
from memo.artifacts.likelihood_tables import read_likelihoods
from memo.artifacts.score_tables import read_scores_file
from memo.datasets.arrays import support_of
from memo.datasets.elsewhere.drawn_values import values_of_array
from memo.datasets.elsewhere.sample_sources import sample_sources
from memo.experiments.sampled.outside_density import OutsideSamples
from memo.experiments.sampled.words import about_samples
from memo.pipeline.prepare import prepare, read_prepared
from memo.project.reading import read_project
from memo.spec.sampled_likelihood_specs import SampledLikelihoodSpec
from tests.test_likelihood_tables import run

torch.set_num_threads(1)

PROJECT = """\
files:
  points: {kind: table, path: points.csv, id: name}
  things: {kind: table, path: things.csv, dequantize: {weight: 0.5}, label: shop, drop: [note]}
  pictures: {kind: image-folder, path: pictures, values: binary, channels: 1}
  photos: {kind: image-folder, path: photos, values: continuous}
  five: {kind: table, path: five.csv}
"""
N, DRAWN = 80, 2000


def project(folder: Path) -> Path:
    """A project whose data sets are prepared: numbers, a table with categories, images."""
    stream = np.random.default_rng(0)
    values = stream.normal(size=(N, 2)) * [1, 20] + [0, 100]
    values[:4] = [[4, 180], [-4, 20], [4, 20], [-4, 180]]
    names = [f"n{number}" for number in range(N)]
    pl.DataFrame({"name": names, "a": values[:, 0], "b": values[:, 1]}).write_csv(
        folder / "points.csv"
    )
    things(stream, 60).write_csv(folder / "things.csv")
    five = pl.DataFrame(np.random.default_rng(5).normal(size=(N, 5)), list("abcde"))
    five.write_csv(folder / "five.csv")
    for name, channels in (("pictures", 1), ("photos", 3)):
        save_images(folder / name, stream.integers(0, 256, (24, 2, 2, channels), np.uint8))
    (folder / "params.yaml").write_text(PROJECT)
    with contextlib.chdir(folder):
        spec = read_project(folder / "params.yaml")
        for name in spec.datasets:
            prepare(spec, Layout(folder), name)
    return folder


def things(stream: np.random.Generator, count: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "weight": np.rint(stream.normal(10, 3, count) * 2) / 2,
            "colour": stream.choice(["red", "green", "blue"], count),
            "shop": stream.choice(["x", "y"], count),
            "note": ["n"] * count,
        }
    )


def save_images(folder: Path, levels: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(levels):
        picture = image[..., 0] if image.shape[-1] == 1 else image
        Image.fromarray(picture).save(folder / f"{number:04}.png")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("outside"))


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    shutil.copytree(prepared, tmp_path / "project")
    return tmp_path / "project"


def designed(folder: Path, dataset: str, design: str) -> pl.DataFrame:
    code, said = run(folder, "design", dataset, "-o", "design.parquet", "--design", design)
    assert code == 0, said
    return pl.read_parquet(folder / "design.parquet")


def score(folder: Path, dataset: str, *more: str, samples: str = "samples") -> tuple[int, str]:
    return run(
        folder,
        *("score", "ours", "--samples", samples, "--trained-on", "design.parquet"),
        *("--dataset", dataset, *more),
    )


def test_the_design_is_one_row_for_each_model_and_observation(folder: Path) -> None:
    table = designed(folder, "points", "{kind: k-fold, folds: 4, repeats: 2}")
    assert table.columns == ["model", "block", "index", "id", "in_training"]
    assert len(table) == 8 * N
    held_out = table.filter(~pl.col("in_training"))
    assert held_out.group_by("index").len()["len"].unique().to_list() == [2]
    assert held_out.group_by("block", "index").len()["len"].unique().to_list() == [1]
    code, said = run(folder, "design", "points", "-o", "d.csv", "--design", "{kind: k-folds}")
    assert code == 2 and "'k-folds' is not" in said
    code, said = run(folder, "design", "points", "-o", "d.csv", "--design", "{kind: subsets}")
    assert code == 2 and "--design: fraction: Field required" in said


def test_scores_of_mixtures_from_samples_rank_records_as_exact_ones(folder: Path) -> None:
    design = designed(folder, "points", "{kind: k-fold, folds: 5, repeats: 3}")
    x = pl.read_csv(folder / "points.csv").select("a", "b").to_numpy()
    (folder / "samples").mkdir()
    drawn, exact = [], []
    for number, (name, rows) in enumerate(design.group_by("model", maintain_order=True)):
        members = rows.filter("in_training")["index"].to_numpy()
        model = GaussianMixture(6, random_state=number // 5).fit(x[members])
        samples = pl.DataFrame(model.sample(DRAWN)[0], schema=["a", "b"])
        samples.write_csv(folder / "samples" / f"{name[0]}.csv")
        drawn.append(samples.select(pl.lit(name[0]).alias("model"), "b", "a"))
        exact.append(rows.with_columns(log_likelihood=pl.Series(model.score_samples(x))))
    pl.concat(drawn).write_parquet(folder / "all.parquet")
    pl.concat(exact).write_parquet(folder / "exact.parquet")
    code, said = score(folder, "points")
    assert code == 0, said
    assert run(folder, "score", "exact", "--from", "exact.parquet", "--dataset", "points")[0] == 0
    ours, truth = (
        pl.read_parquet(folder / f"artifacts/scores/{name}.parquet") for name in ("ours", "exact")
    )
    ranks = scipy.stats.spearmanr(ours["memorization"], truth["memorization"])
    assert ranks.statistic > 0.8
    assert abs((ours["log_p_out"] - truth["log_p_out"]).median()) < 0.3  # in the columns' units
    assert ours["id"].to_list() == [f"n{number}" for number in range(N)]

    written = read_likelihoods(folder / "artifacts/log_likelihoods/ours/samples.parquet")
    assert len(written) == 15 * N and written["std_error"].min() > 0
    assert written["in_training"].to_list() == design["in_training"].to_list()
    data, _ = read_prepared(Layout(folder), "points")
    one, other = (sample_sources(folder / name, data) for name in ("samples", "all.parquet"))
    for name in design["model"].unique():
        assert np.allclose(one[name](), other[name](), atol=1e-6)


def test_the_page_says_how_many_intervals_hold_as_those_of_samplers(folder: Path) -> None:
    """Word for word what the page of an experiment of the same data and estimator says."""
    design = designed(folder, "five", TWO)
    stream = np.random.default_rng(6)
    (folder / "samples").mkdir()
    for name in design["model"].unique():
        drawn = pl.DataFrame(stream.normal(size=(1000, 5)), list("abcde"))
        drawn.write_csv(folder / "samples" / f"{name}.csv")
    assert score(folder, "five")[0] == 0
    x = pl.read_csv(folder / "five.csv").to_numpy().astype(np.float32)
    likelihood = {"kind": "samples", "max_samples": 1000}
    two = {"kind": "k-fold", "folds": 2, "repeats": 2}
    model = {"kind": "normal"}
    found = memo.measure(x, model, design=two, likelihood=likelihood, workers=1)
    _, said = about_samples(found._experiment).split(" In 5 columns of numbers ")
    assert "95% intervals then held 89 to 98% of exact scores" in said
    page = html.unescape((folder / "reports/ours/index.html").read_text())
    assert "<b>From samples.</b> The models were trained elsewhere: each log p" in page
    assert f" In 5 columns of numbers {said}" in page


def write_tables(folder: Path, design: pl.DataFrame, counts: list[int]) -> None:
    (folder / "samples").mkdir()
    for name, count in zip(design["model"].unique(maintain_order=True), counts, strict=True):
        things(np.random.default_rng(count), count).write_parquet(
            folder / "samples" / f"{name}.parquet"
        )


TWO = "{kind: k-fold, folds: 2, repeats: 2}"


def test_unequal_numbers_and_records_for_samples_are_said(folder: Path) -> None:
    """The design names members alone; one model has drawn nothing but records."""
    design = designed(folder, "points", TWO)
    members = design.filter("in_training").select("model", "block", "id")
    members.write_parquet(folder / "design.parquet")
    records = pl.read_csv(folder / "points.csv").drop("name")
    stream = np.random.default_rng(1)
    (folder / "samples").mkdir()
    for number, name in enumerate(design["model"].unique(maintain_order=True)):
        drawn = stream.normal(size=(1200 + number, 2)) * [1, 20] + [0, 100]
        table = pl.concat([records] * 14) if number == 2 else pl.DataFrame(drawn, ["a", "b"])
        table.write_csv(folder / "samples" / f"{name}.csv")
    code, said = score(
        folder, "points", "--likelihood", "{space: {kind: principal, components: 1}}"
    )
    said = " ".join(said.split())
    assert code == 0 and "from 1,120 (r001-f000) to 1,203 samples" in said
    assert "All samples of 1 models (r001-f000)" in said
    written = read_likelihoods(folder / "artifacts/log_likelihoods/ours/samples.parquet")
    written = written.with_columns(pl.col("block").cast(pl.Int64))
    both = written.join(design, on=["model", "index", "block"], suffix="_designed")
    assert both["in_training"].to_list() == both["in_training_designed"].to_list()
    assert len(both) == 4 * N
    stored = read_scores_file(folder / "artifacts/scores/ours.parquet").facts
    assert stored["space"] == "the first 1 principal components of the observations"


def test_what_is_kept_for_tests_has_no_part_in_log_p(folder: Path) -> None:
    """Other values in the place of kept samples change no log p; others than these do."""
    data, _ = read_prepared(Layout(folder), "points")
    stream = np.random.default_rng(7)
    arrays = {str(model): stream.normal(size=(1200 + model, 2)) for model in range(3)}
    spec = SampledLikelihoodSpec(kind="samples")

    def estimated(arrays: dict[str, np.ndarray]) -> tuple[OutsideSamples, dict[str, np.ndarray]]:
        drawn = OutsideSamples(
            data,
            support_of(data),
            spec,
            {name: (lambda one=one: one.astype(np.float32)) for name, one in arrays.items()},
            aside=50,
        )
        return drawn, {name: found.value for name, found in drawn.log_likelihoods()}

    drawn, log_p = estimated(arrays)
    assert (drawn.kept_of_each, drawn.count) == (50, 1150)
    kept = {
        name: np.isin(one[:, 0].astype(np.float32), drawn.kept[name][:, 0])
        for name, one in arrays.items()
    }
    assert {name: mask.sum() for name, mask in kept.items()} == {"0": 50, "1": 50, "2": 50}
    moved = {name: np.where(kept[name][:, None], 9.0, one) for name, one in arrays.items()}
    for name, value in estimated(moved)[1].items():
        assert np.array_equal(value, log_p[name])
    others = {name: np.where(kept[name][:, None], one, 9.0) for name, one in arrays.items()}
    assert not np.array_equal(estimated(others)[1]["0"], log_p["0"])


WRONG = {
    "a model without samples": (
        lambda s: (s / "r000-f000.parquet").unlink(),
        "has no samples of model 'r000-f000', which design.parquet names",
    ),
    "a model of no design": (
        lambda s: shutil.copy(s / "r000-f000.parquet", s / "more.parquet"),
        "has samples of model 'more', and design.parquet does not say what it was trained on",
    ),
    "another file": (lambda s: (s / "readme.md").touch(), "readme.md: is neither a table"),
    "twice": (
        lambda s: things(np.random.default_rng(0), 5).write_csv(s / "r000-f000.csv"),
        "model 'r000-f000' are there twice",
    ),
    "a column too few": (lambda s: change(s, lambda t: t.drop("weight")), "has no column 'weight'"),
    "a column too many": (
        lambda s: change(s, lambda t: t.with_columns(size=1)),
        "has column 'size', which the data set does not model",
    ),
    "an unknown category": (
        lambda s: change(s, lambda t: t.with_columns(colour=pl.lit("mauve"))),
        "column 'colour', record 1: 'mauve' is no category .*'blue', 'green', 'red'",
    ),
    "not finite": (
        lambda s: change(s, lambda t: t.with_columns(weight=pl.lit(np.inf))),
        "column 'weight', record 1: inf is not a finite number",
    ),
    "nothing": (
        lambda s: change(s, lambda t: t.with_columns(weight=pl.lit(None, pl.Float64))),
        "column 'weight', record 1: has no value",
    ),
    "words": (
        lambda s: change(s, lambda t: t.with_columns(weight=pl.lit("much"))),
        "column 'weight': has no numbers, as 'much'",
    ),
    "too few": (
        lambda s: change(s, lambda t: t.head(999)),
        "'r001-f001': has 999 samples; densities take 1,000",
    ),
    "an array": (
        lambda s: (
            (s / "r001-f001.parquet").unlink(),
            np.save(s / "r001-f001.npy", np.zeros((1000, 2))),
        ),
        "is an array, and column 'colour' has categories",
    ),
    "damaged": (
        lambda s: (s / "r001-f001.parquet").write_bytes(b"PAR1 is all there is"),
        "r001-f001.parquet: is not a whole Parquet file",
    ),
}


def change(folder: Path, changed) -> None:
    file = folder / "r001-f001.parquet"
    changed(pl.read_parquet(file)).write_parquet(file)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_with_tables_is_one_line(folder: Path, wrong: str) -> None:
    write_tables(folder, designed(folder, "things", TWO), [1000, 1001, 1002, 1003])
    spoil, message = WRONG[wrong]
    spoil(folder / "samples")
    code, said = score(folder, "things")
    assert code == 2 and "\n" not in said
    assert re.search(message, said), said
    assert not (folder / "artifacts/scores/ours.parquet").exists()


def test_noise_within_steps_is_that_of_the_data_set(folder: Path) -> None:
    data, _ = read_prepared(Layout(folder), "things")
    table = pl.read_csv(folder / "things.csv")
    between = table.with_columns(pl.col("weight") + 0.1)
    (folder / "samples").mkdir()
    table.write_csv(folder / "samples" / "same.csv")
    between.write_csv(folder / "samples" / "between.csv")
    sources = sample_sources(folder / "samples", data)
    assert np.array_equal(sources["same"](), data.scored[:])
    column = next(one for one in data.columns or [] if one.name == "weight")
    own = column.in_own_units(sources["between"]()[:, 0].astype(np.float64))
    assert np.allclose(own, between["weight"], atol=1e-5)


def test_images_become_what_is_scored_from_files_and_arrays(folder: Path) -> None:
    for name, channels in (("pictures", 1), ("photos", 3)):
        data, _ = read_prepared(Layout(folder), name)
        files = sorted((folder / name).glob("*.png"))
        levels = np.stack([np.asarray(Image.open(file)).reshape(2, 2, channels) for file in files])
        place = folder / f"samples-{name}"
        place.mkdir()
        shutil.copytree(folder / name, place / "files")
        np.save(place / "last.npy", levels)
        np.save(place / "first.npy", np.moveaxis(levels, -1, 1))
        np.save(place / "shares.npy", levels / 255)
        if channels == 1:
            np.save(place / "grey.npy", levels[..., 0])
        for model, read in sample_sources(place, data).items():
            assert np.array_equal(read(), data.scored[:]), (name, model)


def test_log_p_of_binary_images_is_that_of_the_pixels(folder: Path) -> None:
    data, _ = read_prepared(Layout(folder), "pictures")
    white = torch.tensor([0.3, 0.5, 0.6, 0.7])
    stream = torch.Generator().manual_seed(0)
    arrays = {
        str(number): (torch.rand(4000, 2, 2, generator=stream) < white.reshape(2, 2)).numpy()
        for number in range(2)
    }
    drawn = OutsideSamples(
        data,
        support_of(data),
        SampledLikelihoodSpec(kind="samples", max_samples=3000),
        {name: partial(values_of_array, array, data, name) for name, array in arrays.items()},
    )
    x = torch.tensor(data.scored[:].reshape(-1, 4), dtype=torch.float32)
    exact = torch.distributions.Bernoulli(white).log_prob(x).sum(1).numpy()
    assert drawn.count == 3000 and drawn.dimensions == 4 and drawn.counts["0"] == 4000
    for _, found in drawn.log_likelihoods():
        assert np.all(np.abs(found.value - exact) < 5 * found.std_error + 0.1)
        assert found.std_error.max() < 0.3 and set(found.samples) == {3000}
    # every image of four pixels is a record here, so that the samples are records
    assert drawn.records_alone == (["0", "1"] if len(np.unique(x, axis=0)) == 16 else [])


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros((5, 3, 3)), "samples of 3 x 3, and observations are 1 x 2 x 2"),
        (np.full((5, 2, 2), 1.5), "values from 1.5 to 1.5, and intensities of pixels"),
        (np.full((5, 2, 2), 256), "levels are from 0 to 255"),
        (np.full((5, 2, 2), np.nan), "sample 0 has a value that is not finite, nan"),
        (np.array([["a"]]), "not numbers"),
        (None, "is no whole array of numpy's"),
        ("large", "0000.png: is 3 x 3, and observations are 2 x 2"),
        ("none", "has no images"),
    ],
)
def test_what_is_wrong_with_images_is_one_line(
    folder: Path, array: np.ndarray | str | None, message: str
) -> None:
    design = designed(folder, "pictures", TWO)
    (folder / "samples").mkdir()
    for name in design["model"].unique():
        place = folder / "samples" / name
        if isinstance(array, str):
            save_images(place, np.zeros((2, 3, 3, 1), np.uint8)[: None if array == "large" else 0])
        elif array is None:
            place.with_suffix(".npy").write_bytes(b"no array")
        else:
            np.save(place.with_suffix(".npy"), array)
    code, said = score(folder, "pictures")
    assert code == 2 and message in said and "\n" not in said


def test_options_that_are_missing_or_wrong_are_said(folder: Path) -> None:
    write_tables(folder, designed(folder, "things", TWO), [1000, 1001, 1002, 1003])
    for options, message in {
        ("--likelihood", "{space: encoder}"): "'encoder' is that of a model that memo trained",
        ("--likelihood", "{estimator: nearest}"): "'nearest' is for numbers",
        ("--likelihood", "{samples: 3}"): "--likelihood: samples: Extra inputs",
        ("--likelihood", "nearest"): "--likelihood: is no mapping",
        ("--from", "x.csv"): "--from and --samples: give one of them",
    }.items():
        code, said = score(folder, "things", *options)
        assert code == 2 and message in said
    code, said = run(folder, "score", "ours", "--samples", "samples", "--dataset", "things")
    assert code == 2 and "memo design writes one" in said
    code, said = run(folder, "score", "ours", "--trained-on", "design.parquet")
    assert code == 2 and "go with --samples" in said
    assert score(folder, "things", samples="nowhere")[1].endswith("file or folder of samples")
