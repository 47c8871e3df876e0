"""Projects to run memo in, and the commands as a user types them."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

from tests.command_server import start_server

FUZZ = int(os.environ.get("MEMO_FUZZ", "0"))
"""Times as many examples of each property, drawn anew; 0 for the same ones each time."""

# Machines are shared, so that nothing is timed.
settings.register_profile("memo", deadline=None, derandomize=not FUZZ, print_blob=bool(FUZZ))
settings.load_profile("memo")


def examples(count: int) -> settings:
    """Number of examples that a property is tried on."""
    return settings(max_examples=count * max(1, FUZZ))


os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent

LONGEST = (
    *("test_pipeline.py", "test_init.py", "test_ray.py", "test_interruptions.py"),
    *("field/test_trust.py", "test_true_scores.py", "test_report.py", "test_experiments_dvc.py"),
    *("test_library.py", "test_frontier.py", "field/test_leftovers.py", "field/test_benchmarks.py"),
    *("field/test_notebook.py", "field/test_faults_ray.py", "test_sharing.py", "test_derived.py"),
    *("test_custom_models.py", "test_leave_one_out.py", "test_faults.py", "test_untrusted.py"),
)
"""Files of tests that take longest, longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with what takes longest, so that the processes of `make test` end together."""
    place = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    assert all(file.is_file() for file in place)
    items.sort(key=lambda item: place.get(item.path, len(place)))


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

SMALL = SPEC[: SPEC.index("  slow:")].replace("limit: 120", "limit: 60")
"""The first of its experiments, on fewer observations."""

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]


def command(folder: Path, *arguments: str, check: bool = True, **environment: str) -> Result:
    """Run a command in a folder with this environment's programs first.

    `memo` is forked from a process that has its libraries, but where variables of the environment
    are given: some are read by libraries.
    """
    first = [] if environment else [str(_forking())]
    result = subprocess.run(
        arguments,
        cwd=folder,
        env={
            "MEMO_WORKERS": "1",
            **os.environ,
            "PATH": os.pathsep.join([*first, str(BIN), os.environ["PATH"]]),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if check and result.returncode:
        raise AssertionError(f"{arguments}: {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result


@cache
def _forking() -> Path:
    return start_server()


def edit(file: Path, before: str, after: str, count: int = -1) -> None:
    """Replace text that must be there."""
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, count))


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Each file's time stamp and content."""
    return {f.name: (f.stat().st_mtime_ns, f.read_bytes()) for f in sorted(folder.iterdir())}


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers_of(pid: int) -> list[psutil.Process]:
    """Worker processes that a process has started."""
    found = []
    for child in psutil.Process(pid).children():
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            if "loky.backend.popen_loky_posix" in child.cmdline():
                found.append(child)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {name: content for name, (_, content) in files(folder).items()}


def make_project(folder: Path) -> Path:
    """A folder with a small spec and memo's own pipeline."""
    folder.mkdir()
    (folder / "params.yaml").write_text(SPEC)
    (folder / "expanded.yaml").write_text("expanded: {}\n")
    shutil.copy(ROOT / "dvc.yaml", folder)
    return folder


def make_repository(folder: Path) -> Path:
    """A project as a git and DVC repository."""
    make_project(folder)
    command(folder, "git", "init", "-q", "-b", "main")
    command(folder, "git", "config", "user.email", "test@example.org")
    command(folder, "git", "config", "user.name", "Test")
    command(folder, "dvc", "init", "-q")
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    shutil.copy(ROOT / ".gitignore", folder)
    command(folder, "git", "add", "-A")
    command(folder, "git", "commit", "-qm", "A project")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of the test's own."""
    return make_project(tmp_path / "project")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A project of the test's own under git and DVC."""
    return make_repository(tmp_path / "project")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project, trained and scored; to be read and copied."""
    from tests.in_process import scored_experiments

    folder = make_project(tmp_path_factory.mktemp("trained") / "project")
    scored_experiments(folder, SMALL)
    return folder


@pytest.fixture
def own(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(trained, tmp_path / "own"))


@dataclass(frozen=True)
class Remote:
    """A folder on an SSH server, and the key that opens it."""

    url: str
    key: Path

    def add_to(self, repository: Path) -> None:
        """Make it the default remote of a repository; the key stays out of git."""
        command(repository, "dvc", "remote", "add", "-d", "group", self.url)
        self.open_for(repository)

    def open_for(self, clone: Path) -> None:
        """Tell a clone of such a repository where the key is."""
        command(clone, "dvc", "remote", "modify", "--local", "group", "keyfile", str(self.key))


@pytest.fixture
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """A DVC remote over the network: an SSH server on loopback."""
    folder = tmp_path_factory.mktemp("ssh")
    (folder / "served").mkdir()
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.ssh_server", str(folder / "served")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    port = int(server.stdout.readline())
    yield Remote(f"ssh://memo@127.0.0.1:{port}/results", folder / "client")
    server.kill()
    server.communicate()
