"""Files of a release: they parse, name what exists, and agree with pyproject.toml."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import memo
from tests.conftest import ROOT, command

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, BUILD = PYPROJECT["project"], PYPROJECT["build-system"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
YAML_FILES = [
    *WORKFLOWS,
    *sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")),
    ROOT / "CITATION.cff",
    ROOT / "packaging" / "conda" / "recipe.yaml",
]


def read(file: Any) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(file.read_text())
    return found


@pytest.mark.parametrize("file", YAML_FILES, ids=lambda file: file.name)
def test_a_file_of_a_release_is_yaml(file: Any) -> None:
    assert read(file)


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_workflows_call_targets_of_make_that_exist(file: Any) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    found = read(file)
    assert found["permissions"] == {"contents": "read"}  # a job that may more says so itself
    steps = [step for job in found["jobs"].values() for step in job["steps"]]
    for step in steps:
        assert ("run" in step) != ("uses" in step)
        assert re.fullmatch(r"[\w-]+/[\w-]+@\S+", step.get("uses", "a/b@v1"))
        called = re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))
        assert set(called) <= set(targets)
    for job in found["jobs"].values():
        needs = job.get("needs", [])
        assert {needs} <= set(found["jobs"]) if isinstance(needs, str) else not needs


def test_the_pythons_that_are_tested_are_those_that_are_allowed() -> None:
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    matrix = read(ROOT / ".github/workflows/test.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == [f"3.{minor}" for minor in range(int(low), int(high))]


def test_citation_and_recipe_name_one_version_and_what_the_package_needs() -> None:
    recipe = read(ROOT / "packaging" / "conda" / "recipe.yaml")
    assert read(ROOT / "CITATION.cff")["version"] == recipe["context"]["version"]
    assert recipe["package"]["name"] == PROJECT["name"]
    built_by = {line.replace(" ", "") for line in recipe["requirements"]["host"]}
    assert {*BUILD["requires"], "pip"} < built_by
    (entry,) = recipe["build"]["python"]["entry_points"]
    assert entry == f"memo = {PROJECT['scripts']['memo']}"
    needed = {re.sub(r"^torch>", "pytorch>", line) for line in PROJECT["dependencies"]}
    python, *others = recipe["requirements"]["run"]
    assert {line.replace(" ", "") for line in others} == needed
    assert python.endswith(PROJECT["requires-python"].split(",")[1])


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A folder of which every file says that it is of release 1.2.3."""
    for name, text in {
        "CITATION.cff": "version: 1.2.3\n",
        "packaging/conda/recipe.yaml": 'context:\n  version: "1.2.3"\n',
        "CHANGELOG.md": "# Changelog\n\n## 1.2.3 (1 May)\n",
        "dist/memo_audit-1.2.3.tar.gz": "",
        "dist/memo_audit-1.2.3-py3-none-any.whl": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "check-release", tmp_path / ".ci")
    return tmp_path


def check(release: Path, tag: str) -> tuple[int, list[str]]:
    """Exit code of the check of a release, and what it says, a file a line."""
    found = command(release, ".ci/check-release", tag, check=False)
    return found.returncode, [line.partition(":")[0] for line in found.stderr.splitlines()]


def test_a_release_is_of_one_version(release: Path) -> None:
    assert check(release, "v1.2.3") == (0, [])
    every = ["CITATION.cff", "packaging/conda/recipe.yaml", "CHANGELOG.md", "dist"]
    for other in ("v1.2", "v1.2.30", "v1.2.3rc1", "v1x2.3"):
        assert check(release, other) == (1, every)
    assert check(release, "1.2.3") == (2, ["1.2.3"])
    (release / "dist" / "memo_audit-1.2.2.tar.gz").touch()
    (release / "CITATION.cff").write_text("version: 1.2.2\n")
    assert check(release, "v1.2.3") == (1, ["CITATION.cff", "dist"])
    shutil.rmtree(release / "dist")
    assert check(release, "v1.2.3") == (1, ["CITATION.cff", "dist"])


def test_the_version_is_that_of_the_package_that_is_installed(tmp_path: Path) -> None:
    assert memo.__version__ == metadata.version(PROJECT["name"])
    # elsewhere: a build may have left metadata of its own in this folder
    python = f"from importlib import metadata; print(metadata.version({PROJECT['name']!r}))"
    version = command(tmp_path, sys.executable, "-c", python).stdout
    assert command(tmp_path, "memo", "--version").stdout == f"memo {version}"
    assert "version" in PROJECT["dynamic"]


def test_the_image_copies_what_its_build_needs() -> None:
    text = (ROOT / "Dockerfile").read_text()
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    for names in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE):
        for name in names.split():
            assert (ROOT / name).exists()
            assert f"!{name}" in kept
    (extra,) = re.findall(r"/src\[(\w+)\]", text)
    assert extra in PROJECT["optional-dependencies"]


def test_the_development_container_makes_what_make_install_makes() -> None:
    found = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert found["postCreateCommand"] == "make install"


@pytest.mark.parametrize("file", sorted((ROOT / ".ci").iterdir()), ids=lambda file: file.name)
def test_scripts_can_be_run(file: Path) -> None:
    subprocess.run(["bash", "-n", str(file)], check=True)
    assert file.stat().st_mode & 0o111
