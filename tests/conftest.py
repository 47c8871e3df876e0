"""Projects to run memo in, and the commands as a user types them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent

SPEC = """\
datasets:
  digits: {kind: digits, values: binary, limit: 120}
experiments:
  fast:
    dataset: digits
    model: {kind: vae, network: {kind: mlp, hidden: [32]}, latent: 4, observation: bernoulli}
    training: {epochs: 6, batch_size: 16, learning_rate: 1.0e-2}
    mitigations: []
    scoring:
      design: {kind: k-fold, folds: 3, repeats: 2}
      epochs: [3, 6]
      likelihood: {kind: importance, samples: 8}
    seed: 1
  slow:
    dataset: digits
    model: {kind: vae, network: {kind: mlp, hidden: [32]}, latent: 4, observation: bernoulli}
    training: {epochs: 6, batch_size: 16, learning_rate: 1.0e-2}
    mitigations:
      - {kind: learning-rate, scale: 0.1}
    scoring:
      design: {kind: k-fold, folds: 3, repeats: 2}
      epochs: [3, 6]
      likelihood: {kind: importance, samples: 8}
    seed: 1
"""

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]


def command(folder: Path, *arguments: str, check: bool = True, **environment: str) -> Result:
    """Run a command in a folder with this environment's programs first."""
    result = subprocess.run(
        arguments,
        cwd=folder,
        env={
            "MEMO_WORKERS": "1",
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if check and result.returncode:
        raise AssertionError(f"{arguments}: {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result


def edit(file: Path, before: str, after: str, count: int = -1) -> None:
    """Replace text that must be there."""
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, count))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a small spec and memo's own pipeline."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "params.yaml").write_text(SPEC)
    shutil.copy(ROOT / "dvc.yaml", folder)
    return folder


@pytest.fixture
def repository(project: Path) -> Path:
    """The same, as a git and DVC repository."""
    command(project, "git", "init", "-q", "-b", "main")
    command(project, "git", "config", "user.email", "test@example.org")
    command(project, "git", "config", "user.name", "Test")
    command(project, "dvc", "init", "-q")
    shutil.copy(ROOT / ".dvc" / "config", project / ".dvc" / "config")
    shutil.copy(ROOT / ".gitignore", project)
    command(project, "git", "add", "-A")
    command(project, "git", "commit", "-qm", "A project")
    return project
