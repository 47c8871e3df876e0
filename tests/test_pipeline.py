"""The pipeline as users run it: real dvc, real training, real kills, on a small spec."""

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT, Remote, command, contents, edit, files, make_repository

AS_COLLEAGUE = ("-c", "user.email=colleague@example.org", "-c", "user.name=Colleague")

STAGES = ("train", "sample", "score", "neighbors", "attack", "report")

READ_IT_ALL = ("expand", "compare")
"""Stages that depend on params.yaml as a whole."""

EVERYTHING = {
    "prepare@digits",
    *(f"{stage}@{name}" for stage in STAGES for name in ("fast", "slow")),
    *READ_IT_ALL,
}


def repro(folder: Path) -> set[str]:
    """Run the pipeline; which stages did run?"""
    result = command(folder, "dvc", "repro")
    return set(re.findall(r"Running stage '(.+)'", result.stdout))


def shown_metrics(folder: Path) -> dict[str, Any]:
    """Metrics by their files, as DVC shows them."""
    return json.loads(command(folder, "dvc", "metrics", "show", "--json").stdout)[""]["data"]


def status(folder: Path) -> dict[str, Any]:
    return json.loads(command(folder, "memo", "status", "--json").stdout)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository after one `dvc repro` of everything, to be copied and not changed."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    make_repository(folder)
    assert repro(folder) == EVERYTHING
    command(folder, "git", "add", "-A")
    command(folder, "git", "commit", "-qm", "Results")
    return folder


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished repository."""
    return Path(shutil.copytree(finished, tmp_path / "results", symlinks=True))


def test_repro_runs_everything_once_and_dvc_shows_it(results: Path) -> None:
    repository = results
    start = time.monotonic()
    assert repro(repository) == set()
    assert time.monotonic() - start < 10

    scores = pl.read_parquet(repository / "artifacts" / "scores" / "fast.parquet")
    assert len(scores) == 120 * 2
    assert scores["memorization"].is_finite().all()
    assert (scores["log_p_in"] - scores["log_p_out"] - scores["memorization"]).abs().max() < 1e-9

    metrics = shown_metrics(repository)["reports/fast/metrics.json"]["data"]
    at_last = scores.filter(pl.col("epoch") == 6)["memorization"]
    assert metrics["memorization"]["mean"] == pytest.approx(at_last.mean())
    written = json.loads((repository / "reports" / "fast" / "metrics.json").read_text())
    low, high = written["memorization_interval"]["q95"]
    raw = at_last.quantile(0.95, "linear")
    assert low <= metrics["memorization"]["q95"] <= high
    assert raw is not None
    assert metrics["memorization"]["q95"] < raw  # of the true scores
    command(repository, "dvc", "plots", "show", "-o", "plots")
    page = (repository / "plots" / "index.html").read_text()
    assert "losses_csv" in page
    assert "quantiles_csv" in page

    compared = shown_metrics(repository)["reports/compare/metrics.json"]["data"]["slow"]
    of_slow = pl.read_parquet(repository / "artifacts" / "scores" / "slow.parquet")
    means = [
        table.filter(pl.col("epoch") == 6)["memorization"].mean() for table in (scores, of_slow)
    ]
    assert compared["against"] == "fast"
    assert compared["memorization"]["mean"]["value"] == pytest.approx(means[1] - means[0])
    assert compared["held_out_log_likelihood"]["low"] < compared["held_out_log_likelihood"]["high"]

    assert status(repository)["up_to_date"] is True
    edit(repository / "params.yaml", "learning_rate: 1.0e-2", "learning_rate: 2.0e-2", 1)
    left = status(repository)
    assert left["experiments"]["fast"]["models"] == {"done": 0, "of": 7}
    assert left["experiments"]["slow"]["up_to_date"] is True
    ran = repro(repository)
    assert ran == {*(f"{stage}@fast" for stage in STAGES), *READ_IT_ALL}
    assert ran == {
        *(f"{stage}@fast" for stage in left["experiments"]["fast"]["stages"]),
        *left["other_stages"],
    }
    changed = json.loads(command(repository, "dvc", "metrics", "diff", "--json").stdout)
    assert "reports/fast/metrics.json" in json.dumps(changed)
    assert "reports/slow/metrics.json" not in json.dumps(changed)

    compared = command(repository, "memo", "compare", "fast", "--rev", "HEAD", "--json")
    outcome = json.loads(compared.stdout)
    assert set(outcome["experiments"]) == {"fast", "fast@HEAD"}
    assert outcome["differences"][0]["statistics"]["q95"]["value"] != 0
    wrong = command(repository, "memo", "compare", "fast", "--rev", "nowhere", check=False)
    assert wrong.returncode == 2
    assert "nowhere" in wrong.stderr


def test_each_change_runs_only_what_reads_it(results: Path) -> None:
    repository = results
    folds = files(repository / "artifacts" / "folds" / "fast")
    after_train = {
        *(f"{stage}@fast" for stage in ("score", "sample", "neighbors", "attack", "report")),
        *READ_IT_ALL,
    }
    edit(repository / "params.yaml", "samples: 8", "samples: 16", 1)
    edit(repository / "params.yaml", "  slow:\n", "  slow:\n    title: A name for people\n")
    assert repro(repository) == {*after_train, "report@slow"}
    assert "A name for people" in (repository / "reports" / "slow" / "index.html").read_text()
    assert files(repository / "artifacts" / "folds" / "fast") == folds
    edit(repository / "params.yaml", "repeats: 2", "repeats: 3", 1)
    assert repro(repository) == {*(f"{stage}@fast" for stage in STAGES), *READ_IT_ALL}
    raised = files(repository / "artifacts" / "folds" / "fast")
    assert {name: raised[name] for name in folds} == folds
    assert len(raised) == len(folds) + 3
    estimated = files(repository / "artifacts" / "log_likelihoods" / "fast")
    space = "    scoring:\n      neighbors: {samples: 30, space: downsampled}\n"
    edit(repository / "params.yaml", "    scoring:\n", space, 1)
    assert repro(repository) == after_train
    assert files(repository / "artifacts" / "folds" / "fast") == raised
    assert files(repository / "artifacts" / "log_likelihoods" / "fast") == estimated
    report = repository / "reports" / "fast"
    assert json.loads((report / "metrics.json").read_bytes())["neighbors"]["samples"] == 30
    assert "in pixels downsampled by a half" in (report / "index.html").read_text()


def test_a_colleague_pulls_runs_only_what_changed_and_pushes_back(
    results: Path, tmp_path: Path, remote: Remote
) -> None:
    repository = results
    remote.add_to(repository)
    command(repository, "git", "add", "-A")
    command(repository, "git", "commit", "-qm", "Results")
    command(repository, "dvc", "push")
    clone = tmp_path / "clone"
    command(tmp_path, "git", "clone", "-q", str(repository), str(clone))
    remote.open_for(clone)
    command(clone, "dvc", "pull")
    assert repro(clone) == set()
    before = files(clone / "artifacts" / "folds" / "slow")
    edit(clone / "params.yaml", "repeats: 2", "repeats: 3", 1)
    result = command(clone, "dvc", "repro")
    ran = set(re.findall(r"Running stage '(.+)'", result.stdout))
    assert ran == {*(f"{stage}@fast" for stage in STAGES), *READ_IT_ALL}
    assert "7 of 10 models are kept" in result.stdout + result.stderr
    assert files(clone / "artifacts" / "folds" / "slow") == before

    command(clone, "git", *AS_COLLEAGUE, "commit", "-qam", "Three repeats")
    command(clone, "dvc", "push")
    command(repository, "git", "pull", "-q", "--ff-only", str(clone), "main")
    command(repository, "dvc", "pull")
    assert repro(repository) == set()
    for made in ("artifacts/folds/fast", "artifacts/scores", "artifacts/log_likelihoods/fast"):
        assert contents(repository / made) == contents(clone / made)


def test_damaged_and_foreign_files_are_named_and_rebuilt(results: Path) -> None:
    project = results
    folds = project / "artifacts" / "folds" / "fast"
    truth = contents(folds)
    truncated, foreign = folds / "r000-f001.safetensors", folds / "r001-f002.safetensors"
    truncated.write_bytes(truncated.read_bytes()[:1000])
    shutil.copy(folds.with_name("slow") / foreign.name, foreign)

    edit(project / "params.yaml", "samples: 8", "samples: 9", 1)
    refused = command(project, "memo", "score", "fast", check=False)
    assert refused.returncode == 1
    assert truncated.name in refused.stderr
    assert "Traceback" not in refused.stderr

    rebuilt = command(project, "memo", "train", "fast")
    assert re.search(rf"{truncated.name}: is not a whole.*trained anew", rebuilt.stderr)
    assert re.search(rf"{foreign.name}: belongs to another spec.*trained anew", rebuilt.stderr)
    assert "2 models trained" in rebuilt.stdout
    assert contents(folds) == truth


def test_a_damaged_table_is_refused_or_rebuilt(results: Path) -> None:
    project = results
    scores = project / "artifacts" / "scores" / "fast.parquet"
    truth = scores.read_bytes()
    pl.read_parquet(scores).drop("std_error").write_parquet(scores)
    for arguments in (("report", "fast"), ("show", "fast"), ("compare", "fast")):
        refused = command(project, "memo", *arguments, check=False)
        assert refused.returncode == 1
        assert re.search(r"fast\.parquet: has no column 'std_error'", refused.stderr)
    tables = project / "artifacts" / "log_likelihoods" / "fast"
    before = files(tables)
    (tables / "r000-f000.parquet").write_bytes(b"PAR1")
    command(project, "memo", "score", "fast")
    assert scores.read_bytes() == truth
    assert contents(tables) == {name: content for name, (_, content) in before.items()}


def test_a_report_is_not_made_of_attacks_on_other_scores(results: Path) -> None:
    folder = results / "artifacts" / "attacks"
    shutil.copy(folder / "slow.json", folder / "fast.json")
    refused = command(results, "memo", "report", "fast", check=False)
    assert refused.returncode == 1
    assert "fast.json: belongs to another spec; run: memo attack fast" in refused.stderr
    (folder / "fast.json").write_text("{}")
    refused = command(results, "memo", "report", "fast", check=False)
    assert "fast.json: is not a whole file of attacks: epoch: Field required" in refused.stderr


def test_neighbors_are_found_again_where_they_are_lost(results: Path) -> None:
    table = results / "artifacts" / "neighbors" / "fast.parquet"
    truth = table.read_bytes()
    table.unlink()
    refused = command(results, "memo", "report", "fast", check=False)
    assert refused.returncode == 1
    assert "fast.parquet: no such file" in refused.stderr
    command(results, "memo", "neighbors", "fast")
    assert table.read_bytes() == truth


RUN = ("Check the spec", "Measure what has changed", "Gate", "Flagged records")
"""Steps of the workflow in docs/ci.md that are run; the others install, pull and comment."""


def workflow_steps() -> dict[str, str]:
    """Shell commands of the steps of the workflow in docs/ci.md, by their names."""
    text = (ROOT / "docs" / "ci.md").read_text()
    workflow = re.search(r"```yaml\n(name: gate\n.+?)```", text, re.DOTALL)
    assert workflow is not None
    steps = YAML(typ="safe").load(workflow.group(1))["jobs"]["gate"]["steps"]
    return {step["name"]: step["run"] for step in steps if "run" in step}


def test_the_documented_workflow_gates_a_release(results: Path) -> None:
    steps = workflow_steps()
    with (results / "params.yaml").open("a") as file:
        file.write("policies: {fast: policy.yaml}\n")
    warnings = json.loads((results / "reports/fast/metrics.json").read_text())["warnings"]
    policy = {
        "declared": {"owner": "A. Miller", "intended_use": "a test"},
        "limits": {"mean": 1000.0},
        "accepted": {warning["kind"]: "a test" for warning in warnings},
    }
    (results / "policy.yaml").write_text(json.dumps(policy))
    for name in RUN:
        command(results, "bash", "-e", "-c", steps[name].replace("digits-vae", "fast"))
    assert 'failures="0" errors="0"' in (results / "gate.xml").read_text()
    flagged = pl.read_csv(results / "flagged.csv")
    assert set(flagged["reasons"]) <= {"score", "replica", "score; replica"}
    commented = steps["Comment the card"].split()[-1].replace("digits-vae", "fast")
    assert (results / commented).read_text().startswith("# Audit of fast: pass")

    assert repro(results) == {"expand", "gate@fast", "compare"}
    assert repro(results) == set()
    (results / "policy.yaml").write_text(json.dumps(policy | {"limits": {"mean": 0.0}}))
    failed = command(results, "dvc", "repro", check=False)
    assert failed.returncode
    assert "memo gate fast --policy policy.yaml, exited with 1" in failed.stdout + failed.stderr
    assert (results / commented).read_text().startswith("# Audit of fast: fail")


def test_show(results: Path) -> None:
    scored = results
    shown = command(scored, "memo", "show", "slow", "--top", "3", "--epoch", "3").stdout
    assert "slow after epoch 3" in shown
    found = json.loads(command(scored, "memo", "show", "slow", "--top", "4", "--json").stdout)
    table = pl.read_parquet(scored / "artifacts" / "scores" / "slow.parquet")
    expected = table.filter(pl.col("epoch") == 6).sort(
        "memorization_shrunk", "index", descending=[True, False]
    )
    expected = expected.head(4)
    assert [row["id"] for row in found["most_memorized"]] == expected["id"].to_list()
    labelled = command(scored, "memo", "show", "slow", "--label", "3", "--json").stdout
    assert {row["label"] for row in json.loads(labelled)["most_memorized"]} == {"3"}
    for wrong, word in ((("--epoch", "4"), "scored are 3, 6"), (("--label", "x"), "labels are 0")):
        refused = command(scored, "memo", "show", "slow", *wrong, check=False)
        assert refused.returncode == 2
        assert word in refused.stderr


def test_check_compares_what_was_scored_with_a_second_method(results: Path) -> None:
    arguments = ("memo", "check", "fast", "--observations", "40", "--epoch", "3", "--json")
    found = json.loads(command(results, *arguments, MEMO_WORKERS="2").stdout)
    for group in ("in_training", "held_out"):
        assert found[group]["observations"] == 40
        assert abs(found[group]["bias"]) < 0.3
        assert found[group]["z_std"] < 3
    assert found == json.loads(command(results, *arguments).stdout)
    refused = command(results, "memo", "check", "fast", "--epoch", "4", check=False)
    assert refused.returncode == 2
    assert "epoch 4 was not scored" in refused.stderr


def test_what_cannot_be_compared_says_why(results: Path) -> None:
    scored = results
    edit(scored / "params.yaml", "datasets:\n", "datasets:\n  fewer: {kind: digits, limit: 60}\n")
    edit(scored / "params.yaml", "dataset: digits\n", "dataset: fewer\n", 1)
    command(scored, "memo", "prepare", "fewer")
    for stage in ("train", "score"):
        command(scored, "memo", stage, "fast")
    result = command(scored, "memo", "compare", "fast", "slow")
    assert "cannot be compared: they were scored on different data sets" in result.stdout
    markdown = command(scored, "memo", "compare", "fast", "slow", "--markdown").stdout
    assert "\n|  | fast | slow |" in markdown
    assert (scored / "reports" / "compare@fast-slow" / "index.html").is_file()
    unknown = command(scored, "memo", "compare", "fats", check=False)
    assert unknown.returncode == 2
    assert "did you mean 'fast'" in unknown.stderr
