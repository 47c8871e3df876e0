"""The study as specs: a DVC project of its own, made of the same stages."""

import shutil
from pathlib import Path

import pytest

from memo.models.build import build_model
from memo.project.reading import read_project
from tests.conftest import ROOT, command, edit

PAPER = ROOT / "paper"
STUDY = {"mnist": (100, 16), "mnist-slow": (100, 16), "cifar10": (100, 64), "celeba": (50, 32)}


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    """A copy of the project's pipeline and of the study below it, in a git repository."""
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    shutil.copytree(PAPER, tmp_path / "paper", symlinks=True)
    command(tmp_path, "git", "init", "-q")
    return tmp_path / "paper"


def test_the_study_is_what_the_paper_says() -> None:
    project = read_project(PAPER / "params.yaml")
    for name, (epochs, latent) in STUDY.items():
        experiment = project.experiments[name]
        assert experiment.training.epochs == experiment.scoring.epochs[-1] == epochs
        assert experiment.training.batch_size == 64
        assert experiment.model.latent == latent
        design = experiment.scoring.design
        assert (design.folds, design.repeats) == (10, 10)
        shape = project.datasets[experiment.dataset].shape
        assert build_model(experiment.model, shape).latent == latent
    assert project.experiments["mnist"].scoring.epochs == list(range(5, 101, 5))
    fast, slow = (project.experiments[name].training for name in ("mnist", "mnist-slow"))
    assert (fast.learning_rate, slow.learning_rate) == (1e-3, 1e-4)


def test_its_stages_are_those_of_any_project_and_resolve(paper: Path) -> None:
    project = read_project(paper / "params.yaml")
    listed = command(paper, "dvc", "stage", "list", "--name-only").stdout.split()
    expected = {f"prepare@{name}" for name in project.datasets} | {"compare"}
    for stage in ("train", "sample", "score", "neighbors", "attack", "report"):
        expected |= {f"{stage}@{name}" for name in project.experiments}
    assert expected <= set(listed)
    graph = command(paper, "dvc", "dag", "--dot").stdout
    assert '"score@cifar10" -> "report@cifar10"' in graph


def test_dvc_runs_them_in_its_folder(paper: Path) -> None:
    edit(
        paper / "params.yaml", "kind: mnist, values: binary, limit: 3000", "kind: digits, limit: 9"
    )
    command(paper, "dvc", "repro", "prepare@mnist-3000")
    assert (paper / "data" / "prepared" / "mnist-3000" / "dataset.json").is_file()
    assert (paper / "dvc.lock").is_file()
    assert not (paper.parent / "dvc.lock").exists()
    assert command(paper, "git", "status", "--short", "data", "reports").stdout == ""
