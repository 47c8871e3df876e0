"""A project that an earlier memo made, brought up to this one."""

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from memo.commands.init import shipped
from memo.commands.upgrade import upgrade
from memo.errors import InputError
from memo.project.reading import spec_schema
from tests.conftest import command

BEFORE = b"stages: {prepare: {cmd: memo prepare digits}}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text("datasets: {}\nexperiments: {}\n", encoding="utf-8")
    (tmp_path / "dvc.yaml").write_bytes(BEFORE)
    return tmp_path


def test_stages_and_schema_are_new_and_nothing_is_lost(project: Path) -> None:
    assert len(upgrade(project)) == 3
    assert YAML(typ="safe").load(project / "expanded.yaml") == {"expanded": {}}  # dvc.yaml reads it
    assert (project / "dvc.yaml").read_bytes() == shipped("dvc.yaml")
    assert (project / "dvc.yaml.before-upgrade").read_bytes() == BEFORE
    assert (project / "params.schema.json").read_text(encoding="utf-8") == spec_schema()
    files = {file: file.read_bytes() for file in project.iterdir()}
    assert upgrade(project) == []
    assert {file: file.read_bytes() for file in project.iterdir()} == files


def test_scripts_are_told_what_was_done(project: Path) -> None:
    for done in (3, 0):
        told = json.loads(command(project, "memo", "upgrade", "--json").stdout)
        assert list(told) == ["done"]
        assert len(told["done"]) == done


def test_what_an_upgrade_before_has_kept_is_not_overwritten(project: Path) -> None:
    upgrade(project)
    (project / "dvc.yaml").write_bytes(b"stages: {}\n")
    with pytest.raises(InputError, match=r"dvc.yaml.before-upgrade: is there already"):
        upgrade(project)
    assert (project / "dvc.yaml").read_bytes() == b"stages: {}\n"
    assert (project / "dvc.yaml.before-upgrade").read_bytes() == BEFORE


def test_experiments_that_dvc_knows_are_kept(project: Path) -> None:
    (project / "expanded.yaml").write_text("expanded: {lr: {seed: 1}}\n", encoding="utf-8")
    upgrade(project)
    assert (project / "expanded.yaml").read_text() == "expanded: {lr: {seed: 1}}\n"


def test_a_folder_without_a_spec_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"params.yaml: no such file"):
        upgrade(tmp_path)
    assert list(tmp_path.iterdir()) == []
