"""Files of a release: they parse, name what exists, and agree with pyproject.toml."""

import json
import re
import subprocess
import tomllib
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
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


def test_citation_and_recipe_are_of_this_version() -> None:
    assert read(ROOT / "CITATION.cff")["version"] == PROJECT["version"]
    recipe = read(ROOT / "packaging" / "conda" / "recipe.yaml")
    assert recipe["context"]["version"] == PROJECT["version"]
    assert recipe["package"]["name"] == PROJECT["name"]
    (entry,) = recipe["build"]["python"]["entry_points"]
    assert entry == f"memo = {PROJECT['scripts']['memo']}"
    needed = {re.sub(r"^torch>", "pytorch>", line) for line in PROJECT["dependencies"]}
    python, *others = recipe["requirements"]["run"]
    assert {line.replace(" ", "") for line in others} == needed
    assert python.endswith(PROJECT["requires-python"].split(",")[1])


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


def test_the_smoke_test_is_a_script_that_runs() -> None:
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / "smoke")], check=True)
    assert (ROOT / ".ci" / "smoke").stat().st_mode & 0o111
