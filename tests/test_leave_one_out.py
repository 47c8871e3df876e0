"""`design: leave-one-out` through the real stages, against refits and against K-fold."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from memo.artifacts.layout import Layout
from memo.errors import WorkError
from memo.execution.processes import InProcess
from memo.models.build import build_model
from memo.pipeline.score import score
from memo.pipeline.stored_experiment import load_experiment
from memo.project.reading import SpecError, read_project
from memo.report.headlines import metrics
from memo.scores.summaries import summarize
from tests.conftest import command, files, make_repository
from tests.in_process import Scored, scored_experiments

N = 24
DATASETS = f"""\
datasets:
  points: {{kind: synthetic, dimensions: 2, count: {N - 3}, outliers: 2, duplicates: 1}}
  digits: {{kind: digits, values: continuous, limit: 90}}
experiments:
"""
EXPERIMENT = """\
  {name}:
    dataset: {dataset}
    model: {model}
    training: {{epochs: 1}}
    mitigations: []
    scoring:
      design: {design}
      epochs: [1]
      aggregate: paper
    seed: 1
"""
EXACT = "{kind: leave-one-out}"
REFITS = f"{{kind: k-fold, folds: {N}, repeats: 1}}"
KDE = "{kind: kde, bandwidth: 0.4}"
EXPERIMENTS = {
    "normal": ("points", "{kind: normal}", EXACT),
    "normal-refits": ("points", "{kind: normal}", REFITS),
    "kde": ("points", KDE, EXACT),
    "kde-refits": ("points", KDE, REFITS),
    "kde-scott": ("points", "{kind: kde}", EXACT),
    "digits": ("digits", "{kind: normal, ridge: 0.1}", EXACT),
    "digits-kde": ("digits", "{kind: kde}", EXACT),
}


def spec(names: list[str]) -> str:
    return DATASETS + "".join(
        EXPERIMENT.format(
            name=name, **dict(zip(("dataset", "model", "design"), EXPERIMENTS[name], strict=True))
        )
        for name in names
    )


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scored]:
    """Each experiment after its stages ran, with its scores."""
    folder = tmp_path_factory.mktemp("leave-one-out")
    return scored_experiments(folder, spec(list(EXPERIMENTS)))


def test_nothing_but_the_full_model_is_trained(scored):
    experiment, _ = scored["kde"]
    assert list(experiment.layout.folds("kde").iterdir()) == []
    assert experiment.layout.model("kde", "full").is_file()
    assert len(list(experiment.layout.folds("kde-refits").iterdir())) == N


@pytest.mark.parametrize("name", ["normal", "kde", "kde-scott", "digits", "digits-kde"])
def test_scores_are_those_of_brute_force_refits(scored, name):
    experiment, table = scored[name]
    x = torch.from_numpy(np.array(experiment.data.scored[:])).float()
    jacobian = experiment.data.log_jacobian if name.startswith("digits") else np.zeros(len(x))

    def log_prob(rows, at):
        model = build_model(experiment.spec.model, experiment.data.shape)
        model.fit(x[rows])
        return model.log_prob(x[at]).numpy()

    everything = np.arange(len(x))
    inside = log_prob(everything, everything)
    outside = np.array([log_prob(np.delete(everything, i), [i])[0] for i in everything])
    assert np.abs(table["log_p_in"].to_numpy() - inside - jacobian).max() < 1e-6
    assert np.abs(table["log_p_out"].to_numpy() - outside - jacobian).max() < 1e-6
    assert np.abs(table["memorization"].to_numpy() - (inside - outside)).max() < 1e-6


@pytest.mark.parametrize("name", ["normal", "kde"])
def test_k_fold_with_one_observation_a_fold_holds_out_the_same_densities(scored, name):
    exact, refits = scored[name][1], scored[f"{name}-refits"][1]
    assert (exact["log_p_out"] - refits["log_p_out"]).abs().max() < 1e-6
    assert exact["id"].equals(refits["id"])


def test_k_fold_with_one_observation_a_fold_is_near_leave_one_out(scored):
    """Its n - 1 models with x_i each lack one other observation j: p(x | D - j) is
    (n p(x | D) - k(x, x_j)) / (n - 1), and the kernels sum to (n - 1) p(x_i | D - i), so that their
    mean density at x_i is (n p(x_i | D) - p(x_i | D - i)) / (n - 1)."""
    exact, refits = scored["kde"][1], scored["kde-refits"][1]
    log_ratio = (exact["log_p_out"] - exact["log_p_in"]).to_numpy()
    expected = exact["log_p_in"].to_numpy() + np.log((N - np.exp(log_ratio)) / (N - 1))
    assert np.abs(refits["log_p_in"].to_numpy() - expected).max() < 1e-6
    assert (exact["memorization"] - refits["memorization"]).abs().max() < 1 / (N - 1)


def test_exact_scores_have_no_error_and_say_so(scored):
    _, table = scored["kde"]
    assert (table["std_error"] == 0).all()
    summary = summarize(table)
    assert summary.exact
    assert summary.significant == (table["memorization"] > 0).mean()
    assert set(metrics(summary)["memorization_std_error"].values()) == {0.0}
    assert not summarize(scored["kde-refits"][1]).exact


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("{kind: kde, bandwidth: cross-validated}", "kde"),
        ("{kind: gaussian-mixture}", "gaussian-mixture"),
        ("{kind: flow, architecture: maf}", "flow"),
    ],
)
def test_a_design_that_a_family_has_no_closed_form_for_is_refused(tmp_path, model, kind):
    (tmp_path / "params.yaml").write_text(spec(["kde"]).replace(KDE, model))
    with pytest.raises(SpecError, match=r"design.kind: 'leave-one-out' is for densities") as error:
        read_project(tmp_path / "params.yaml")
    assert f"{kind!r} must be refitted: 'k-fold' with `folds: {N}`" in str(error.value)


def test_no_fit_without_an_observation_is_said(tmp_path):
    """Without one of d + 1 points the covariance of d columns is singular."""
    text = spec(["normal"]).replace(f"count: {N - 3}, outliers: 2, duplicates: 1", "count: 3")
    with pytest.raises(WorkError, match=r"^experiment normal: without observation \d .*singular"):
        scored_experiments(tmp_path, text)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exact experiment beside one of folds, after one `dvc repro`."""
    folder = tmp_path_factory.mktemp("mixed") / "project"
    make_repository(folder)
    text = spec(["kde", "normal-refits"]).replace(f"folds: {N}, repeats: 1", "folds: 3, repeats: 2")
    (folder / "params.yaml").write_text(re.sub(r"  digits:.*\n", "", text))
    command(folder, "dvc", "repro")
    command(folder, "git", "add", "-A")
    command(folder, "git", "commit", "-qm", "Results")
    return folder


def test_a_mixed_project_runs_under_dvc_and_its_texts_are_right(repository):
    page = (repository / "reports" / "kde" / "index.html").read_text()
    text = page[: page.index('id="page-data"')]
    assert "scores are exact" in text
    assert "left out in turn: exact, in closed form" in text
    # Sections that say which other design would tell something name its parts.
    named = "attacker|replicas|twins|sample-test-numbers"
    advice = rf'<section aria-labelledby="(?:{named})">.*?</section>'
    own = re.sub(rf"<style>.*</style>|leave-one-out|{advice}", "", text, flags=re.DOTALL)
    for word in ("repeat", "fold", "jackknife"):
        assert word not in own
    assert "What memorization is, and what it is not" in text
    assert (repository / "reports" / "kde" / "charts" / "illustration.svg").is_file()
    losses = pl.read_csv(repository / "reports" / "kde" / "losses.csv")
    table = pl.read_parquet(repository / "artifacts" / "scores" / "kde.parquet")
    assert losses["held_out"][0] == pytest.approx(-table["log_p_out"].mean())
    assert losses["train"][0] == pytest.approx(-table["log_p_in"].mean())
    compared = json.loads((repository / "reports" / "compare" / "comparison.json").read_text())
    assert compared["experiments"]["kde"]["exact"]
    assert compared["differences"][0]["statistics"]["q95"]["std_error"] > 0


def test_a_colleague_pulls_an_empty_folder_of_folds_and_runs_nothing(repository, tmp_path):
    original = Path(shutil.copytree(repository, tmp_path / "original", symlinks=True))
    command(original, "dvc", "remote", "add", "-d", "shared", str(tmp_path / "remote"))
    command(original, "git", "commit", "-qam", "A remote")
    command(original, "dvc", "push")
    clone = tmp_path / "clone"
    command(tmp_path, "git", "clone", "-q", str(original), str(clone))
    command(clone, "dvc", "pull")
    assert "Running stage" not in command(clone, "dvc", "repro").stdout
    assert list((clone / "artifacts" / "folds" / "kde").iterdir()) == []
    tables = files(clone / "artifacts" / "log_likelihoods" / "kde")
    assert set(tables) == {"full.parquet", "left-out.parquet"}
    (clone / "artifacts" / "log_likelihoods" / "kde" / "full.parquet").unlink()
    loaded = load_experiment(read_project(clone / "params.yaml"), Layout(clone), "kde")
    score(loaded, InProcess())
    again = files(clone / "artifacts" / "log_likelihoods" / "kde")
    assert again["left-out.parquet"] == tables["left-out.parquet"]
    assert again["full.parquet"][1] == tables["full.parquet"][1]
