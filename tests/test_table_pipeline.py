"""A real table, with its class as a column of categories, from CSV to a report."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.datasets import load_wine
from sklearn.neighbors import NearestNeighbors

from memo.artifacts.layout import Layout
from memo.datasets.tabular.columns import records
from memo.errors import InputError
from memo.experiments.density_illustration import illustrate
from memo.experiments.record_contents import column_facts, record_data
from memo.pipeline.neighbors import neighbors
from memo.pipeline.sample import sample
from memo.pipeline.stored_experiment import load_experiment
from memo.project.reading import read_project
from memo.report.experiment_page import render_report
from memo.report.memorized_records import NEAREST, memorized_records
from memo.report.page_data import RecordData
from memo.scores.table import Scores
from tests.browser import needs_chromium, open_page
from tests.conftest import command
from tests.in_process import scored_experiments
from tests.report_samples import digits_report

SPEC = """\
datasets:
  wine: {kind: table, path: wine.csv, id: bottle, label: grower, dequantize: {proline: 1}}
experiments:
  wine-vae:
    dataset: wine
    model: {kind: vae, network: {kind: mlp, hidden: [24]}, latent: 2, observation: columns}
    training: {epochs: 12, batch_size: 16, learning_rate: 1.0e-2}
    mitigations: [{kind: observation-variance, floor: 0.04}]
    scoring: {design: {kind: k-fold, folds: 4, repeats: 2}, epochs: [12]}
    seed: 1
"""
EXACT = """\
datasets:
  wine: {kind: table, path: wine.csv, id: bottle, label: grower, drop: [colour]}
  pair: {kind: table, path: wine.csv, id: bottle, columns: [proline, flavanoids]}
  mixed: {kind: table, path: wine.csv, id: bottle}
experiments:
  normal: &exact
    dataset: wine
    model: {kind: normal}
    training: {epochs: 1}
    mitigations: []
    scoring: {design: {kind: leave-one-out}, epochs: [1]}
    seed: 1
  pair: {<<: *exact, dataset: pair, model: {kind: kde, bandwidth: 0.3}}
"""
COUNT = 90
PLANTED = 17


def wine() -> pl.DataFrame:
    """Every other wine; one of them with an absurd hue, and the colour in three words."""
    data = load_wine()
    names = [name.replace("/", "_") for name in data.feature_names]
    frame = pl.DataFrame(data.data, schema=names)[::2].with_row_index("bottle")
    colour = pl.col("color_intensity")
    return frame.with_columns(
        bottle=pl.format("W-{}", pl.col("bottle")),
        hue=pl.when(pl.col("bottle") == PLANTED).then(4.0).otherwise(pl.col("hue")),
        colour=pl.when(colour < 3.5)
        .then(pl.lit("pale"))
        .when(colour < 6)
        .then(pl.lit("medium"))
        .otherwise(pl.lit("deep")),
        grower=pl.Series([f"grower {k}" for k in data.target[::2]]),
    ).drop("color_intensity")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after every command that a user would run by hand."""
    folder = tmp_path_factory.mktemp("table")
    wine().write_csv(folder / "wine.csv")
    (folder / "params.yaml").write_text(SPEC)
    command(folder, "memo", "prepare", "wine")
    for stage in ("train", "score", "sample", "neighbors", "attack", "report"):
        command(folder, "memo", stage, "wine-vae")
    return folder


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("exact")
    wine().write_csv(folder / "wine.csv")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    yield scored_experiments(folder, EXACT)
    patch.undo()


def test_ids_and_labels_come_out_with_the_scores(finished) -> None:
    scores = pl.read_parquet(finished / "artifacts" / "scores" / "wine-vae.parquet").sort("index")
    source = wine()
    assert scores["id"].to_list() == source["bottle"].to_list()
    assert scores["label"].to_list() == source["grower"].to_list()
    assert scores["memorization"].is_finite().all()
    shown = json.loads(command(finished, "memo", "show", "wine-vae", "--json").stdout)
    best = scores.sort("memorization_shrunk", descending=True)
    assert [row["id"] for row in shown["most_memorized"]] == best["id"].head(10).to_list()


def test_the_page_shows_records_and_no_images(finished) -> None:
    page = (finished / "reports" / "wine-vae" / "index.html").read_text()
    scores = pl.read_parquet(finished / "artifacts" / "scores" / "wine-vae.parquet")
    first = scores.sort("memorization_shrunk", descending=True).row(0, named=True)
    body = page[page.index('<section aria-labelledby="records">') :]
    record = body[: body.index("</details>")]
    assert first["id"] in record
    values = wine().filter(pl.col("bottle") == first["id"]).row(0, named=True)
    shown = dict(re.findall(r'<th scope="row">(.+?)</th><td class="number"><b>(.+?)</b>', record))
    assert len(shown) == 12
    for name, text in shown.items():
        assert text == values[name] or float(text) == values[name]
    assert "<img" not in body[: body.index("</section>")]
    assert "<small>sample, at " in record
    assert "galleries" not in page
    assert "12 of numbers, 1 of categories: colour (3)" in page


def shown_records(experiment) -> RecordData:
    samples = experiment.read_samples()
    return record_data(experiment.data, experiment.neighbor_file(samples).read(), samples)


def test_the_columns_of_samples_are_columns_of_the_table(finished) -> None:
    experiment = load_experiment(
        read_project(finished / "params.yaml"), Layout(finished), "wine-vae"
    )
    shown = shown_records(experiment)
    assert shown.samples.columns == shown.values.columns
    assert set(shown.samples["colour"]) <= {"pale", "medium", "deep"}
    assert (shown.samples["proline"] == shown.samples["proline"].round()).all()
    assert experiment.spec.model.observation.floor == pytest.approx(0.2)


def test_leave_one_out_scores_are_those_of_refits_in_the_columns_own_units(exact) -> None:
    _, scores = exact["normal"]
    rows = wine().drop("bottle", "grower", "colour").to_numpy()

    def log_p(of: np.ndarray, at: np.ndarray) -> np.ndarray:
        return stats.multivariate_normal(of.mean(0), np.cov(of.T, ddof=0)).logpdf(at)

    everything = log_p(rows, rows)
    without = [log_p(np.delete(rows, i, 0), rows[i]) for i in range(len(rows))]
    scores = scores.sort("index")
    np.testing.assert_allclose(scores["log_p_in"], everything, atol=1e-3)
    np.testing.assert_allclose(scores["log_p_out"], without, rtol=1e-4, atol=1e-3)


def test_the_planted_record_is_memorized_and_stands_out(exact) -> None:
    experiment, scores = exact["normal"]
    sample(experiment)
    neighbors(experiment)
    ranked = scores.sort("memorization_shrunk", descending=True)
    by_index = {
        row["index"]: row | {"score": "", "shrunk": None} for row in ranked.iter_rows(named=True)
    }
    found = memorized_records(
        shown_records(experiment), ranked["index"].to_list(), by_index.__getitem__
    )
    assert found[0].name == f"W-{PLANTED}"
    assert found[0].rows[0].column == "hue"
    assert found[0].rows[0].value == "4"
    assert found[0].stands_out.startswith("stands out in hue")
    assert found[0].rows[0].share > 0.5


def test_what_sets_a_record_apart_is_the_distance_to_its_nearest(exact) -> None:
    """By scikit-learn's neighbours, and every pair of records."""
    experiment, _ = exact["normal"]
    shown = shown_records(experiment)
    vectors = shown.vectors.astype(np.float64)
    nearest = NearestNeighbors(n_neighbors=NEAREST + 1).fit(vectors).kneighbors(vectors)[1][:, 1:]
    squared = (vectors[:, None] - vectors[nearest]) ** 2
    apart = np.stack([squared[..., block].sum(-1).mean(1) for block in shown.blocks], 1)
    times = np.sqrt(apart / apart.mean(0))
    described = {
        i: {"id": f"{i}", "label": None, "score": "1", "shrunk": None} for i in range(len(vectors))
    }
    order = np.random.default_rng(0).permutation(len(vectors)).tolist()
    for i, record in zip(
        order, memorized_records(shown, order, described.__getitem__), strict=False
    ):
        assert {one.name for one in record.beside if one.name} == {str(j) for j in nearest[i]}
        for row in record.rows:
            j = shown.values.columns.index(row.column)
            assert row.times == pytest.approx(times[i, j], rel=1e-5)
            assert row.share == pytest.approx(apart[i, j] / apart[i].sum(), rel=1e-5)


def test_records_of_two_and_columns_that_never_differ_are_shown() -> None:
    data = RecordData(
        values=pl.DataFrame({"x": [0.0, 1.0], "c": ["a", "a"]}),
        vectors=np.array([[-1.0, 1.0], [1.0, 1.0]], np.float32),
        blocks=[slice(0, 1), slice(1, 2)],
    )
    described = {i: {"id": f"{i}", "label": None, "score": "1", "shrunk": None} for i in range(2)}
    first, second = memorized_records(data, [0, 1], described.__getitem__)
    assert [row.times for row in first.rows] == [1.0, 0.0]
    assert second.beside[0].name == "0"


@needs_chromium
def test_wide_tables_and_hostile_names_stay_on_the_page(tmp_path: Path) -> None:
    """A name of a column, a category or a record is text, however long and whatever it says."""
    random = np.random.default_rng(0)
    hostile = "<script>window.hacked = 1</script>" + "long" * 30
    numbers = random.standard_normal((60, 30)).astype(np.float32)
    data = RecordData(
        values=pl.DataFrame(numbers.astype(np.float64), schema=[f"c{j}" for j in range(30)])
        .rename({"c0": hostile})
        .with_columns(c1=pl.lit(hostile)),
        vectors=numbers,
        blocks=[slice(j, j + 1) for j in range(30)],
    )
    report = replace(digits_report(n=60, epochs=(10,)), images=None, records=data)
    scores = report.scores.with_columns(id=pl.format("{} {}", "index", pl.lit(hostile)))
    page = render_report(replace(report, scores=scores))["index.html"]
    seen = open_page(page, tmp_path)
    assert seen.problems == []
    assert seen.hacked is None
    assert seen.overflow <= 0
    assert page.count(b"18 other columns set it apart less.") == 12


def test_densities_are_drawn_in_the_columns_own_units(exact) -> None:
    """They integrate to one over a grid that holds nearly all of them."""
    experiment, scores = exact["pair"]
    shown = illustrate(
        experiment, Scores(scores), lambda model: experiment.model_file(model).read().weights
    )
    assert shown.titles == ["proline", "flavanoids"]
    source = wine()
    assert {tuple(np.round(point, 4)) for point in shown.points} == {
        tuple(row) for row in source.select("proline", "flavanoids").rows()
    }
    cell = np.prod([axis[1] - axis[0] for axis in shown.axes])
    places = np.prod([len(axis) for axis in shown.axes])
    for log_p in (shown.log_p_with, shown.log_p_without):
        assert np.exp(log_p[:places]).sum() * cell == pytest.approx(1, abs=0.03)


def test_repeated_and_imputed_values_are_named(exact) -> None:
    facts = column_facts(exact["normal"][0])
    assert facts["Columns"] == "12 of numbers"
    source = wine()
    for name in ("magnesium", "proline", "alcohol"):
        few = 2 * source[name].n_unique() < len(source)
        assert (name in facts.get("Repeated numbers", "")) == few


def test_categories_that_reading_finds_are_refused_by_densities_of_numbers(exact) -> None:
    project = read_project(Path("params.yaml"))
    experiment = project.experiments["normal"].model_copy(update={"dataset": "mixed"})
    mixed = project.model_copy(update={"experiments": {"normal": experiment}})
    with pytest.raises(
        InputError, match=r"experiments.normal.model.kind: .* \('colour', 'grower'\)"
    ):
        load_experiment(mixed, Layout(Path()), "normal")


def test_vectors_are_read_back_as_the_records_that_they_were(exact) -> None:
    data = exact["normal"][0].data
    values = records(data.columns, data.scored[:])
    assert values.rows() == wine().drop("bottle", "grower", "colour").rows()
