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


def test_its_smaller_version_differs_in_images_and_repeats() -> None:
    project = read_project(PAPER / "params.yaml")
    for small, large in (("mnist-6000", "mnist"), ("mnist-6000-slow", "mnist-slow")):
        one, other = project.experiments[small], project.experiments[large]
        assert (one.model, one.training, one.seed) == (other.model, other.training, other.seed)
        assert one.scoring.design.model_copy(update={"repeats": 10}) == other.scoring.design
        assert set(one.scoring.epochs) < set(other.scoring.epochs)
        few, all_of_them = project.datasets[one.dataset], project.datasets[other.dataset]
        assert few.model_copy(update={"limit": None}) == all_of_them
        assert all_of_them.drawn == "each-step"
    once, anew = (project.datasets[f"mnist-6000{ending}"] for ending in ("-once", ""))
    assert once.model_copy(update={"drawn": "each-step"}) == anew


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
    source = "mnist-6000: {kind: mnist, values: binary, drawn: each-step, pad: 2, limit: 6000}"
    edit(paper / "params.yaml", source, "mnist-6000: {kind: digits, limit: 19}")
    command(paper, "dvc", "repro", "prepare@mnist-6000")
    assert (paper / "data" / "prepared" / "mnist-6000" / "dataset.json").is_file()
    assert (paper / "dvc.lock").is_file()
    assert not (paper.parent / "dvc.lock").exists()
    assert command(paper, "git", "status", "--short", "data", "reports").stdout == ""
