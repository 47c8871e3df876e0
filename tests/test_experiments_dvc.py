"""DVC's experiments, as its users run them: -S on every section, queues, no git, folders of one."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from memo.artifacts.layout import Layout
from memo.cli import app
from memo.commands.expand import is_current
from memo.commands.init import init, shipped
from memo.pipeline.stored_experiment import load_experiment
from memo.project.reading import read_project
from tests.conftest import ROOT, Result, command, edit

NORMAL = """\
    dataset: t
    model: {kind: normal}
    training: {}
    mitigations: []
    scoring: {design: {kind: k-fold, folds: 2, repeats: 1}, epochs: [1]}
    seed: 1
"""

SPEC = f"""\
files:
  t: {{kind: table, path: t.csv}}
experiments:
  one:
{NORMAL}\
custom:
  own:
{NORMAL.replace("{kind: normal}", '{kind: custom, target: "own:Own", code: own.py}')}\
derived:
  other:
    base: one
    change: {{scoring.design.folds: 3}}
"""

OWN = """\
import torch
from torch import nn


class Own(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(shape))

    def log_prob(self, x):
        return -0.5 * (x - self.mean).square().flatten(1).sum(1)
"""

STAGES = ("expand", "prepare-files", "train", "custom-train", "derived-train")
"""Stages of dvc.yaml that take part."""


def make(folder: Path) -> Path:
    """A project of one small table whose models are trained in no time, and of those stages."""
    folder.mkdir()
    values = np.random.default_rng(0).normal(size=(40, 2))
    pl.DataFrame(values, schema=["a", "b"]).write_csv(folder / "t.csv")
    (folder / "params.yaml").write_text(SPEC)
    (folder / "own.py").write_text(OWN)
    (folder / ".gitignore").write_bytes(shipped("gitignore"))
    yaml = YAML()
    stages = yaml.load(shipped("dvc.yaml"))
    stages["stages"] = {name: stages["stages"][name] for name in STAGES}
    with (folder / "dvc.yaml").open("w") as file:
        yaml.dump(stages, file)
    command(folder, "memo", "expand")
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in a folder of a git repository, after `dvc repro`; to be copied."""
    root = tmp_path_factory.mktemp("repository")
    command(root, "git", "init", "-q", "-b", "main")
    command(root, "git", "config", "user.email", "test@example.org")
    command(root, "git", "config", "user.name", "Test")
    folder = make(root / "study")
    command(folder, "dvc", "init", "-q", "--subdir")
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    command(folder, "dvc", "repro", "-q")
    command(root, "git", "add", "-A")
    command(root, "git", "commit", "-qm", "Results")
    tracked = command(root, "git", "ls-files", "study").stdout.split()
    assert {"study/dvc.lock", "study/expanded.yaml"} < set(tracked)
    assert not any("cache" in file or "artifacts" in file for file in tracked)
    return folder


@pytest.fixture
def own(study: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(study.parent, tmp_path / "copy", symlinks=True)) / "study"


def ran(result: Result) -> list[str]:
    return re.findall(r"Running stage '(?:study/dvc.yaml:)?(.+)'", result.stdout)


def all_hold(folder: Path) -> bool:
    """True where each model is the one that params.yaml asks for."""
    project = read_project(folder / "params.yaml")
    loaded = (load_experiment(project, Layout(folder), name) for name in project.experiments)
    return all(
        experiment.model_file(model).names_this_model()
        for experiment in loaded
        for model in experiment.trained_models
    )


def test_set_on_a_base_and_on_a_model_of_ones_own(own: Path, monkeypatch) -> None:
    monkeypatch.chdir(own)  # where the code of the model is found
    assert all_hold(own)
    sets = ("-S", "experiments.one.seed=7", "-S", "custom.own.seed=8")
    first, *others = ran(command(own, "dvc", "exp", "run", "-n", "seeds", *sets))
    assert first == "expand"
    assert set(others) == {"train@one", "custom-train@own", "derived-train@other"}
    project = read_project(own / "params.yaml")
    seeds = {name: spec.seed for name, spec in project.experiments.items()}
    assert seeds == {"one": 7, "own": 8, "other": 7}
    assert is_current(own / "expanded.yaml", project.expanded)
    assert all_hold(own)
    shown = json.loads(command(own, "dvc", "params", "diff", "--json").stdout)
    assert shown["params.yaml"]["experiments.one.seed"] == {"old": 1, "new": 7, "diff": 6}
    assert shown["params.yaml"]["custom.own.seed"]["new"] == 8
    assert shown["expanded.yaml"]["expanded.other.seed"]["new"] == 7
    assert "up to date" in command(own, "dvc", "status").stdout


def test_a_queue_of_sets_on_what_is_derived(own: Path) -> None:
    sets = ("-S", "+derived.other.change.seed=5")
    command(own, "dvc", "exp", "run", "--queue", "-n", "seed-5", *sets)
    command(own, "dvc", "exp", "run", "--run-all")
    assert command(own, "git", "status", "--short").stdout == ""  # nothing of this folder changed
    shown = json.loads(command(own, "dvc", "exp", "show", "--json").stdout)
    found = {}
    for of_revision in shown:
        for experiment in of_revision["experiments"] or ():
            data = experiment["revs"][0]["data"]
            found[experiment["name"]] = data["params"]["expanded.yaml"]["data"]["expanded"]
    assert {name: entry["other"]["seed"] for name, entry in found.items()} == {"seed-5": 5}
    command(own, "dvc", "exp", "apply", "seed-5")
    assert is_current(own / "expanded.yaml", read_project(own / "params.yaml").expanded)
    assert all_hold(own)
    assert "up to date" in command(own, "dvc", "status").stdout


def test_sets_that_dvc_cannot_follow_stop_with_one_line(own: Path) -> None:
    sets = ("-S", "+derived.other.grid.seed=[1,2]")
    stopped = command(own, "dvc", "exp", "run", *sets, check=False)
    assert stopped.returncode
    assert ran(stopped) == ["expand"]
    assert "expanded.yaml names other experiments now (new: other-1, other-2; gone: other)" in (
        stopped.stderr
    )
    assert ran(command(own, "dvc", "repro", "expand")) == ["expand"]
    stages = command(own, "dvc", "stage", "list", "--name-only").stdout.split()
    assert {name for name in stages if "derived" in name} == {
        *("derived-train@other-1", "derived-train@other-2")
    }

    sets = ("-S", "expanded.yaml:expanded.other-1.seed=9")
    stopped = command(own, "dvc", "exp", "run", *sets, check=False)
    assert ran(stopped) == ["expand"]
    assert "is written from params.yaml: change values there" in stopped.stderr


def test_a_single_stage_is_not_filed_under_other_values(own: Path) -> None:
    edit(own / "params.yaml", "folds: 3", "folds: 4")
    stage = ("--single-item", "--force", "derived-train@other")
    stopped = command(own, "dvc", "repro", *stage, check=False)
    assert stopped.returncode
    assert "has other values of other than params.yaml" in stopped.stderr
    assert "4 models trained" not in stopped.stdout
    by_hand = CliRunner().invoke(app, ["-C", str(own), "train", "other"])
    assert "other: 4 models trained" in by_hand.output  # the full model is the same


def test_a_project_without_git(tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "study"
    monkeypatch.chdir(tmp_path)
    init(folder, "digits", None)
    assert "no_scm = True" in (folder / ".dvc" / "config").read_text()
    assert ran(command(folder, "dvc", "repro", "expand")) == ["expand"]
    assert "title: VAE as it comes" in (folder / "params.yaml").read_text()
    before = (folder / "expanded.yaml").stat().st_mtime_ns
    edit(folder / "params.yaml", "title: VAE as it comes", "title: Another")
    assert ran(command(folder, "dvc", "repro", "expand")) == ["expand"]
    assert (folder / "expanded.yaml").stat().st_mtime_ns == before
    assert ran(command(folder, "dvc", "repro", "expand")) == []
    refused = command(folder, "dvc", "exp", "run", "-S", "seed=1", check=False)
    assert refused.returncode
    assert "git" in refused.stderr.lower()
