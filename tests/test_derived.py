"""Experiments made from others, as DVC runs them: order, caches, and nothing trained twice."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from memo.artifacts.layout import Layout
from memo.artifacts.score_tables import read_scores_file
from memo.execution.processes import InProcess
from memo.pipeline.score import score
from memo.pipeline.stored_experiment import load_experiment
from memo.pipeline.train import train
from memo.project.reading import read_project
from memo.scores.summaries import summarize
from tests.conftest import command, contents, edit, make_repository

SPEC = """\
datasets:
  digits: {kind: digits, limit: 60}
experiments:
  base:
    dataset: digits
    model: {kind: vae, network: {kind: mlp, hidden: [16]}, latent: 2}
    training: {epochs: 3, batch_size: 16, learning_rate: 1.0e-2}
    mitigations: []
    scoring:
      design: {kind: k-fold, folds: 3, repeats: 2}
      epochs: [3]
      likelihood: {kind: importance, samples: 8}
    seed: 1
derived:
  beta:
    base: base
    change: {mitigations.0: {kind: kl-weight, weight: 2}}
    grid: {mitigations.0.weight: [2]}
  rest:
    base: base
    change: {mitigations: [{kind: remove, of: base, count: 5}]}
  mean:
    base: base
    change: {mitigations: [{kind: ensemble}]}
"""


def repro(folder: Path) -> list[str]:
    """Run what is scored of `beta` and `rest`; which stages did run, in which order?"""
    result = command(folder, "dvc", "repro", "--glob", "derived-score@[br]*")
    return re.findall(r"Running stage '(.+)'", result.stdout)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("derived") / "project"
    make_repository(folder)
    (folder / "params.yaml").write_text(SPEC)
    command(folder, "memo", "expand")
    return folder, repro(folder)


def test_dvc_finds_them_and_runs_a_removal_after_the_scores_it_reads(finished) -> None:
    folder, ran = finished
    names = ("beta-2", "rest")
    derived = {f"derived-{stage}@{name}" for stage in ("train", "score") for name in names}
    assert set(ran) == {"expand", "prepare@digits", "train@base", "score@base", *derived}
    assert ran.index("score@base") < ran.index("derived-train@rest")
    lock = (folder / "dvc.lock").read_text().split("derived-train@rest")[1]
    assert "artifacts/scores/base.parquet" in lock.split("outs")[0]
    assert repro(folder) == []


def test_removal_takes_the_most_memorized_out_of_every_training_set(finished) -> None:
    folder, _ = finished
    scores = pl.read_parquet(folder / "artifacts" / "scores" / "base.parquet")
    most = scores.sort("memorization_shrunk", descending=True)["index"].head(5).sort().to_list()
    project, layout = read_project(folder / "params.yaml"), Layout(folder)
    rest, base = (load_experiment(project, layout, name) for name in ("rest", "base"))
    assert rest.full_model.members.tolist() == [i for i in range(60) if i not in most]
    for model, same in zip(rest.models, base.models, strict=True):
        assert np.array_equal(model.held_out, same.held_out)
        left_out = np.setdiff1d(same.members, model.members)
        assert left_out.tolist() == sorted(set(most) - set(model.held_out.tolist()))
    assert rest.partitions_fingerprint() == base.partitions_fingerprint()
    found = pl.read_parquet(folder / "artifacts" / "scores" / "rest.parquet")
    assert len(found) == 60  # the removed ones are scored too


def test_an_ensemble_trains_nothing_and_is_the_mean_of_the_same_models(
    finished, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = finished
    artifacts = folder / "artifacts"
    ensemble = load_experiment(read_project(folder / "params.yaml"), Layout(folder), "mean")
    assert train(ensemble, InProcess()) == 0
    assert "repeat 0, fold 0 and 6 more models are the same as of base" in capsys.readouterr().err
    score(ensemble, InProcess())
    for kind in ("folds", "log_likelihoods"):
        assert contents(artifacts / kind / "mean") == contents(artifacts / kind / "base")
    seconds = [
        json.loads((artifacts / "seconds" / f"{n}.json").read_text()) for n in ("base", "mean")
    ]
    assert set(seconds[0]) == {f"r00{r}-f00{f}" for r in range(2) for f in range(3)} | {"base"}
    assert list(seconds[0].values()) == list(seconds[1].values())
    assert all(value > 0 for value in seconds[0].values())
    base, mean = (
        pl.read_parquet(artifacts / "scores" / f"{name}.parquet")["memorization"].to_numpy()
        for name in ("base", "mean")
    )
    assert np.allclose(np.exp(mean), 1 / 3 + 2 / 3 * np.exp(base))


def test_the_frontier_has_errors_verdicts_movers_and_the_rest(finished, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished[0], tmp_path / "project", symlinks=True))
    names = ("base", "beta-2", "rest")
    arguments = (*names, "--baseline", "beta-2", "--statistic", "q95", "--json")
    compared = json.loads(command(folder, "memo", "compare", *arguments).stdout)
    points = {point["name"]: point for point in compared["frontier"]}
    assert set(points) == set(names)
    tables = {
        name: pl.read_parquet(folder / "artifacts" / "scores" / f"{name}.parquet")
        for name in points
    }
    for name, point in points.items():
        scores = read_scores_file(folder / "artifacts" / "scores" / f"{name}.parquet")
        found = summarize(scores).memorization["q95"]
        ends = [point["memorization"][key] for key in ("value", "low", "high")]
        assert ends == [found.value, found.low, found.high]
        assert found.low <= found.value <= found.high
        assert found.value < tables[name]["memorization"].quantile(0.95, "linear")  # with noise
        held_out = tables[name]["mean_log_likelihood_out"]
        assert point["held_out"]["value"] == pytest.approx(held_out.mean())
        assert point["held_out"]["std_error"] == pytest.approx(
            held_out.std() / len(held_out) ** 0.5
        )
        assert point["seconds"] > 0
    assert points["beta-2"]["verdict"] == ""
    assert {d["first"] for d in compared["differences"]} == {"beta-2"}
    once = folder / "reports" / "compare@base-beta-2-rest-baseline-beta-2-q95"
    page = (once / "index.html").read_text()
    assert "What less memorization costs" in page
    assert "What rest memorizes of the rest" in page
    assert "regression to the mean" in page  # what was removed was chosen by its twin's scores
    assert page.count("data:image/png") >= 12
    assert (once / "charts" / "frontier.svg").is_file()
    wrong = command(folder, "memo", "compare", "--statistic", "q42", check=False)
    assert wrong.returncode == 2
    assert "'q42' is not one of mean, q50, q95, q99.9, max" in wrong.stderr


def test_a_further_point_of_a_grid_runs_only_its_own_stages(finished, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished[0], tmp_path / "project", symlinks=True))
    edit(folder / "params.yaml", "weight: [2]", "weight: [2, 0.5]")
    assert "before dvc repro, run: memo expand" in command(folder, "memo", "validate").stdout
    command(folder, "memo", "expand")
    assert repro(folder) == ["expand", "derived-train@beta-0_5", "derived-score@beta-0_5"]
    edit(folder / "params.yaml", "[2, 0.5]", f"[{', '.join(map(str, range(10_000)))}]")
    for arguments in (("expand",), ("validate",), ("train", "base")):
        refused = command(folder, "memo", *arguments, check=False)
        assert refused.returncode == 2
        assert "derived.beta.grid: has 10,000 points" in refused.stderr
