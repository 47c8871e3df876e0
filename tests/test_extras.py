"""Messages where a package of an extra is missing: one line that names the extra."""

import sys
import tomllib
from pathlib import Path

import pytest

from memo.artifacts.layout import Layout
from memo.commands.validate import try_experiments
from memo.errors import InputError
from memo.execution.choice import executor
from memo.execution.processes import InProcess
from memo.extras import EXTRAS
from memo.pipeline.prepare import prepare
from memo.pipeline.train import train
from memo.project.reading import read_project
from tests.conftest import ROOT, SMALL
from tests.in_process import load

PRIVATE = SMALL.replace(
    "mitigations: []", "mitigations: [{kind: dp-sgd, noise_multiplier: 1.0, delta: 0.001}]"
)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment from which no package of an extra can be imported."""
    for package in EXTRAS:
        monkeypatch.setitem(sys.modules, package, None)


@pytest.mark.usefixtures("without")
def test_dp_sgd_without_opacus_names_its_extra(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(PRIVATE)
    project = read_project(tmp_path / "params.yaml")  # which `memo show` does, and needs no Opacus
    prepare(project, Layout(tmp_path), "digits")
    words = r"'dp-sgd': opacus is not installed; run: pip install 'memo-audit\[private\]'$"
    with pytest.raises(InputError, match=words):
        try_experiments(project, Layout(tmp_path))
    with pytest.raises(InputError, match=words):
        train(load(tmp_path), InProcess())
    assert not list((tmp_path / "artifacts").rglob("*.safetensors"))


@pytest.mark.usefixtures("without")
def test_ray_that_is_missing_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMO_EXECUTOR", "ray")
    with pytest.raises(InputError, match=r"^MEMO_EXECUTOR=ray: .* 'memo-audit\[ray\]'$"):
        executor()


def test_every_extra_that_a_message_names_brings_its_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for package, extra in EXTRAS.items():
        (needed,) = extras["optional-dependencies"][extra]
        assert needed.startswith(f"{package}>=")
        assert not any(line.startswith(package) for line in extras["dependencies"])
