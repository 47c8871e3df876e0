"""Tests on samples of models that were trained elsewhere: the same as memo's own models have."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from memo.artifacts.layout import Layout
from memo.commands.elsewhere.outside_tests import pooled, read_outside_tests
from memo.datasets.elsewhere.sample_sources import sample_sources
from memo.pipeline.prepare import read_prepared
from memo.samples.compared import Observations
from memo.samples.on_folds import FoldSamples, run_on_folds
from memo.samples.registered import chosen_tests
from tests.test_likelihood_tables import run

torch.set_num_threads(1)

N, DRAWN, KEPT = 240, 1500, 24
COPIES, BLIND = "copies", "blind"


def score(folder: Path, name: str, *more: str) -> tuple[int, str]:
    return run(
        folder,
        *("score", name, "--samples", name, "--trained-on", "design.parquet", *more),
    )


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two kinds of models: of records with a little noise, and of the density of the data."""
    folder = tmp_path_factory.mktemp("tested")
    x = np.random.default_rng(0).normal(size=(N, 2))
    pl.DataFrame(x, ["a", "b"]).write_csv(folder / "points.csv")
    (folder / "params.yaml").write_text("files: {points: {kind: table, path: points.csv}}\n")
    assert run(folder, "prepare")[0] == 0
    spec = "{kind: k-fold, folds: 4, repeats: 3}"
    assert run(folder, "design", "-o", "design.parquet", "--design", spec)[0] == 0
    design = pl.read_parquet(folder / "design.parquet")
    for name in (COPIES, BLIND):
        (folder / name).mkdir()
        for number, (model, rows) in enumerate(design.group_by("model", maintain_order=True)):
            stream = np.random.default_rng(number)
            members = rows.filter("in_training")["index"].to_numpy()
            drawn = stream.normal(size=(DRAWN, 2))
            if name == COPIES:
                drawn = x[stream.choice(members, DRAWN)] + 0.02 * drawn
            pl.DataFrame(drawn, ["a", "b"]).write_parquet(folder / name / f"{model[0]}.parquet")
        code, said = score(folder, name)
        assert code == 0, said
    return folder


@pytest.fixture
def folder(scored: Path, tmp_path: Path) -> Path:
    shutil.copytree(scored, tmp_path / "project")
    return tmp_path / "project"


def metrics(folder: Path, name: str) -> dict:
    return json.loads((folder / "reports" / name / "metrics.json").read_text())


def test_copies_are_seen_and_a_blind_sampler_is_not_accused(scored: Path) -> None:
    copies, blind = metrics(scored, COPIES), metrics(scored, BLIND)
    ratio = copies["nearest-ratio"]["numbers"]["nndr_q05"]
    assert ratio["verdict"] == "sees memorization" and ratio["difference_high"] < 0
    assert copies["nearest-ratio"]["fold_models"] == 12
    assert copies["nearest-ratio"]["fold_samples"] == KEPT
    assert copies["neighbors"]["samples"] == KEPT
    ratio = blind["nearest-ratio"]["numbers"]["nndr_q05"]
    assert ratio["difference_low"] < 0 < ratio["difference_high"]
    assert copies["extraction"]["difference_interval"][0] > 0
    low, high = blind["extraction"]["difference_interval"]
    assert low < 0 < high


def test_numbers_and_ranks_are_those_of_the_models_samples(scored: Path) -> None:
    """As a plain call finds them of the same samples, with the design's training sets."""
    stored = read_outside_tests(Layout(scored), COPIES)
    data, _ = read_prepared(Layout(scored), "points")
    design = pl.read_parquet(scored / "design.parquet")
    rows = torch.tensor(data.scored[:])
    sources = sample_sources(scored / COPIES, data)
    names = design["model"].unique().sort().to_list()
    kept = np.random.default_rng(0).permutation(DRAWN)[-KEPT:]
    folds = []
    for name, own in zip(names, stored.models.folds, strict=True):
        of_model = design.filter(model=name)
        members, held_out = (
            np.array(of_model.filter(in_training=side)["index"]) for side in (True, False)
        )
        samples = torch.from_numpy(sources[name]()[np.sort(kept)])
        folds.append(FoldSamples(samples, members, held_out, int(name[1:4]), own.seed))
    everything = Observations(np.arange(N), lambda index: rows[torch.from_numpy(index)])
    found = run_on_folds(chosen_tests(stored.models.spec.tests), everything, folds)
    assert found.numbers == stored.numbers
    ranks = np.array(stored.table["closest_sample_by_repeat"].to_list()).T
    assert ranks.shape == (3, N)
    assert np.array_equal(ranks, found.ranks["closest-record"])

    together = torch.from_numpy(pooled([one.samples.numpy() for one in folds], KEPT))
    nearest = torch.cdist(rows.double(), together.double()).min(1).values
    assert np.allclose(stored.table["closest_sample"], nearest, atol=1e-6)
    of_models = [(one.samples[:, None] == together).all(2).any(1).sum() for one in folds]
    assert of_models == [KEPT // len(folds)] * len(folds)


def test_tests_are_validated_beside_each_other(scored: Path) -> None:
    code, said = run(scored, "validate-tests", COPIES, BLIND, "--json")
    assert code == 0
    found = json.loads(said)
    assert [*found["experiments"]] == [COPIES, BLIND]
    for name, of_tests in found["experiments"].items():
        assert of_tests.pop("space") == "the columns"
        assert of_tests == {test: metrics(scored, name)[test] for test in of_tests}
    (pair,) = found["told_apart"]
    assert (pair["first"], pair["second"], pair["missing"]) == (COPIES, BLIND, None)
    (ratio,) = (one for one in pair["numbers"] if one["number"] == "nndr_q05")
    assert ratio["against_null"]["higher"]["value"] < 0.1
    assert [*json.loads(run(scored, "validate-tests", "--json")[1])["experiments"]] == [
        BLIND,
        COPIES,
    ]


def test_the_page_has_the_sections_of_other_samplers(scored: Path) -> None:
    page = (scored / "reports" / COPIES / "index.html").read_text()
    for title in (
        "Tests on samples alone",
        "Do samples repeat training records?",
        "What tests on samples see of what is memorized",
        "Nearest samples of regular and highly memorized observations",
    ):
        assert title in page
    assert f"Of the samples of each {KEPT} are kept for the tests" in page
    assert f"{KEPT} samples of all models together" in page


def test_records_that_chance_did_not_choose_are_on_no_side(folder: Path) -> None:
    """Some were in training always, others never: they have no scores and decide no test."""
    design = pl.read_parquet(folder / "design.parquet")
    always, never = pl.col("index") < 10, pl.col("index") >= N - 15
    inside = pl.when(always).then(True).when(never).then(False).otherwise("in_training")
    design.with_columns(in_training=inside).write_parquet(folder / "design.parquet")
    assert score(folder, COPIES)[0] == 0
    stored = read_outside_tests(Layout(folder), COPIES)
    for one in stored.models.folds:
        both = np.sort(np.concatenate([one.members, one.held_out]))
        assert np.array_equal(both, np.arange(10, N - 15))
    assert len(stored.scores.table) == N - 25 and len(stored.table) == N
    replicas = metrics(folder, COPIES)["extraction"]
    assert replicas["records"] == N - 25
    assert "no score" in (folder / "reports" / COPIES / "index.html").read_text()
    assert replicas["pairs_in"] + replicas["pairs_out"] == 12 * (N - 25)


def test_a_table_of_log_likelihoods_has_no_tests(folder: Path) -> None:
    table = "artifacts/log_likelihoods/copies/samples.parquet"
    assert run(folder, "score", BLIND, "--from", table, "--dataset", "points")[0] == 0
    assert not (folder / "artifacts/neighbors/blind.parquet").exists()
    assert "nearest-ratio" not in metrics(folder, BLIND)
    code, said = run(folder, "validate-tests", BLIND)
    assert code == 2 and said.startswith("blind: was scored from a table of log-likelihoods")
    assert [*json.loads(run(folder, "validate-tests", "--json")[1])["experiments"]] == [COPIES]
    shutil.rmtree(folder / "artifacts")
    code, said = run(folder, "validate-tests")
    assert code == 2 and "no samples from elsewhere" in said


def test_results_of_other_samples_are_not_taken_for_these(folder: Path) -> None:
    files = [folder / f"artifacts/neighbors/{name}.parquet" for name in (COPIES, BLIND)]
    shutil.copy(*files)
    code, said = run(folder, "validate-tests", BLIND)
    assert code == 1 and "belongs to another spec; run: memo score blind --samples" in said


def test_settings_of_tests_are_taken_or_refused(folder: Path) -> None:
    settings = "{tests: [closest-record], samples: 30, replica: {kind: distance, below: 0.1}}"
    assert score(folder, COPIES, "--neighbors", settings)[0] == 0
    found = metrics(folder, COPIES)
    assert "nearest-ratio" not in found and found["closest-record"]["fold_samples"] == 30
    for wrong, message in {
        "{samples: 121}": "121 samples are more than half of the 240 observations",
        "{space: encoder}": "'encoder' is that of a model that memo trained",
        "{space: downsampled}": "--neighbors: space:",
        "{sample: 3}": "--neighbors: sample: Extra inputs",
    }.items():
        code, said = score(folder, COPIES, "--neighbors", wrong)
        assert code == 2 and message in said and "\n" not in said
    few = pl.read_parquet(folder / "copies/r000-f000.parquet").head(1000)
    few.write_parquet(folder / "copies/r000-f000.parquet")
    code, said = score(folder, COPIES, "--neighbors", "{samples: 101}")
    assert code == 2
    assert said.startswith("--neighbors: samples: 101 are more than a tenth of the 1,000 samples")
    code, said = run(folder, "score", "ours", "--neighbors", "{samples: 3}")
    assert code == 2 and "--neighbors go with --samples" in said


def test_a_policy_limits_replicas_of_samples_from_elsewhere(scored: Path) -> None:
    declared = "declared: {owner: A. Miller, intended_use: research}\n"
    (scored / "policy.yaml").write_text(f"{declared}limits: {{replicas_over_null: 1}}\n")
    code, said = run(scored, "gate", COPIES, "--policy", "policy.yaml", "--json")
    assert (code, json.loads(said)["findings"][0]["verdict"]) == (1, "fail")
