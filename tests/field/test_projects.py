"""The projects that the repository holds: its demo, the examples and the study."""

from pathlib import Path

import pytest

from memo.commands.expand import is_current
from memo.project.reading import read_project
from tests.conftest import ROOT

PROJECTS = [ROOT, ROOT / "paper", *sorted(path for path in (ROOT / "examples").glob("*/"))]


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda folder: folder.name)
def test_projects_are_valid_and_ready_for_dvc(folder: Path) -> None:
    project = read_project(folder / "params.yaml")
    assert project.experiments or project.custom
    assert is_current(folder / "expanded.yaml", project.expanded)
    assert (folder / "dvc.yaml").read_bytes() == (ROOT / "dvc.yaml").read_bytes()
    assert (folder / ".dvc/config").is_file()  # else its stages would be those of the repository
    named = [source.path for source in project.files.values()]
    named += [experiment.model.code for experiment in project.custom.values()]
    assert all((folder / path).exists() for path in named)
