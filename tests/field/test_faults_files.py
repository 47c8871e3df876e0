"""Files that cannot be read or never end, half-written ones, closed outputs, locks of the dead."""

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memo.artifacts.files import ArtifactError, read_whole, remove_leftovers, write_whole
from memo.artifacts.layout import Layout
from memo.artifacts.likelihood_tables import read_likelihoods
from memo.artifacts.lock import locked
from memo.artifacts.score_tables import read_scores_file
from memo.artifacts.tables import OBSERVATIONS, read_table, write_table
from memo.artifacts.tensors import read_tensors
from memo.artifacts.text.json_files import read_facts
from memo.artifacts.training_seconds import read_seconds
from memo.commands.elsewhere.score_table import score_table
from memo.errors import InputError, MemoError, WorkError
from memo.execution.processes import InProcess
from memo.mitigations.stored_facts import stored_values
from memo.pipeline.train import train
from memo.project.reading import read_project
from memo.scores.table import SCORES
from memo.spec.user_code import CodeError, read_code
from tests.conftest import BIN, ROOT, SMALL, command, contents
from tests.field.test_round_trips import log_likelihoods
from tests.in_process import load

READERS: dict[str, Callable[[Path], Any]] = {
    "scores": read_scores_file,
    "table": lambda file: read_table(file, OBSERVATIONS),
    "tensors": read_tensors,
    "facts": read_facts,
    "seconds": read_seconds,
    "likelihoods": read_likelihoods,
    "spec": read_project,
    "whole": read_whole,
    "code": lambda file: read_code(file.parent, file.name, f"{file.stem}:A"),
}


def make(kind: str, file: Path) -> None:
    """Something that has a file's name."""
    match kind:
        case "fifo":
            os.mkfifo(file)
        case "folder":
            file.mkdir()
        case "link to itself":
            file.symlink_to(file)
        case "link to nowhere":
            file.symlink_to(file.with_name("nowhere"))
        case "link to a fifo":
            os.mkfifo(file.with_name("fifo"))
            file.symlink_to(file.with_name("fifo"))
        case "device that never ends":
            file.symlink_to("/dev/zero")


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "kind",
    [
        "fifo",
        "folder",
        "link to itself",
        "link to nowhere",
        "link to a fifo",
        "device that never ends",
    ],
)
def test_what_is_no_file_is_refused_and_not_waited_for(
    name: str, kind: str, tmp_path: Path
) -> None:
    if name == "seconds" and kind.startswith("link to") and "fifo" not in kind:
        pytest.skip("nothing was measured where there is no such file")
    ending = {"likelihoods": ".csv", "code": ".py"}.get(name, ".x")
    file = tmp_path / f"odd{ending}"
    make(kind, file)
    with pytest.raises(MemoError, match=rf"odd\{ending}|no module"):
        READERS[name](file)


def test_a_fifo_or_a_loop_of_links_among_code(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "model.py").write_text("class A: pass\n")
    (code / "sub").mkdir()
    for name, to in (("a", code), ("sub/b", code), ("sub/c", code / "sub")):
        link = code / name
        link.symlink_to(to)
        with pytest.raises(CodeError, match="is a link to a folder that it lies in"):
            read_code(tmp_path, "code", "code.model:A")
        link.unlink()
    os.mkfifo(code / "pipe")
    with pytest.raises(CodeError, match="code/pipe: is no file"):
        read_code(tmp_path, "code", "code.model:A")


UNREADABLE = """
import os, sys
from pathlib import Path
from tests.field.test_faults_files import READERS
from memo.errors import MemoError
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for name, read in READERS.items():
    for file in (Path("closed/odd.csv"), Path("odd.csv")):
        try:
            read(file)
        except MemoError as error:
            print(name, error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_files_without_the_right_to_read_them(tmp_path: Path) -> None:
    import tempfile

    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        (folder / "closed").mkdir()
        for file in (folder / "closed" / "odd.csv", folder / "odd.csv"):
            file.write_text("x")
            file.chmod(0)
        (folder / "closed").chmod(0)
        found = command(folder, sys.executable, "-c", UNREADABLE, PYTHONPATH=str(ROOT))
        lines = found.stdout.splitlines()
        assert len(lines) == 2 * len(READERS), found.stdout
        assert all("ermission denied" in line or "no module" in line for line in lines), lines
    finally:
        shutil.rmtree(folder)


def test_files_are_as_private_as_the_umask_says(tmp_path: Path) -> None:
    for mask, expected in ((0o077, 0o600), (0o022, 0o644), (0o002, 0o664)):
        before = os.umask(mask)
        try:
            write_whole(tmp_path / f"{mask}" / "file", b"")
            write_whole(tmp_path / f"{mask}" / "file", b"again")
        finally:
            os.umask(before)
        file = tmp_path / f"{mask}" / "file"
        assert stat.S_IMODE(file.stat().st_mode) == expected
        assert file.read_bytes() == b"again"


def test_leftovers_of_killed_writers_are_swept(own: Path) -> None:
    layout = Layout(own)
    others = [
        layout.seconds("other").with_name(".other.json.0a1b2c3d.tmp"),
        layout.scores("other").with_name(".fast2.parquet.0a1b2c3d.tmp"),
        own / "data" / ".note.tmp",
    ]
    left = [
        layout.seconds("fast").with_name(".fast.json.0a1b2c3d.tmp"),
        layout.scores("fast").with_name(".fast.parquet.0a1b2c3d.tmp"),
        layout.model("fast", "full").with_name(".fast.safetensors.x.tmp"),
        layout.illustration("fast").with_name(".fast.safetensors.x.tmp"),
        layout.folds("fast") / ".r009-f000.safetensors.x.tmp",
        layout.log_likelihoods("fast") / ".r000-f000.parquet.x.tmp",
    ]
    for file in [*others, *left]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"half")
    before = contents(layout.folds("fast"))
    train(load(own), InProcess())
    assert [file for file in left if file.exists()] == []
    assert all(file.exists() for file in others)
    assert contents(layout.folds("fast")) == {
        name: content for name, content in before.items() if not name.endswith(".tmp")
    }


def test_reports_have_no_leftovers(tmp_path: Path) -> None:
    log_likelihoods(12, 6, 0).write_csv(tmp_path / "t.csv")
    layout = Layout(tmp_path)
    score_table(tmp_path / "t.csv", layout, "t", "mean-log")
    expected = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    for name in (".index.html.x.tmp", "charts/.distribution.svg.x.tmp", ".metrics.json.x.tmp"):
        (layout.report("t") / name).write_bytes(b"half")
    layout.scores("t").with_name(".t.parquet.x.tmp").write_bytes(b"half")
    score_table(tmp_path / "t.csv", layout, "t", "mean-log")
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*")} == expected


def test_sweeping_what_is_not_there(tmp_path: Path) -> None:
    remove_leftovers(tmp_path / "nothing" / "at all")


HOLD = """
import errno, fcntl, os, sys, time
from pathlib import Path
if sys.argv[2] == "missing":
    def flock(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fcntl.flock = flock
from memo.artifacts.lock import locked
with locked(Path(sys.argv[1]), "memo train fast"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.filterwarnings("ignore:flock not supported:UserWarning")
@pytest.mark.parametrize("flock", ["there", "missing"])
def test_a_lock_does_not_outlive_a_killed_process(
    flock: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    if flock == "missing":

        def missing(*_: object) -> None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

        monkeypatch.setattr(fcntl, "flock", missing)
    file = tmp_path / "locks" / "fast.lock"
    holder = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HOLD, str(file), flock],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    message = rf"must wait for memo train fast \(process {holder.pid} on .*; if there is no such"
    with (
        pytest.raises(WorkError, match=message),
        locked(file, "memo score fast"),
    ):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with locked(file, "memo score fast"):
        pass
    with locked(file, "memo score fast"):
        pass


def test_outputs_that_are_closed_or_full(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(SMALL)

    def run(words: str) -> tuple[int, str]:
        found = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {words}"],
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        return found.returncode, found.stderr

    assert run("memo validate >&-") == (0, "")
    assert run("memo validate 2>&- >&-") == (0, "")
    assert run("memo validate 0<&- 2>&- >&-") == (0, "")
    assert run("memo schema -o s.json 0<&- >&- && cmp s.json <(memo schema)") == (0, "")
    code, said = run("memo schema | true")
    assert code in (0, 1)
    assert said == ""
    if Path("/dev/full").exists():
        code, said = run("memo validate > /dev/full")
        assert code == 1
        assert said == "memo: [Errno 28] No space left on device\n"


def test_paths_that_no_encoding_has(tmp_path: Path) -> None:
    name = os.fsdecode(b"t\xff\x1b.csv")
    log_likelihoods(12, 6, 0).write_csv(tmp_path / "t.csv")
    (tmp_path / "t.csv").rename(tmp_path / name)
    score_table(tmp_path / name, Layout(tmp_path), "t", "mean-log")
    html = (Layout(tmp_path).report("t") / "index.html").read_text()
    assert r"t\udcff\x1b.csv" in html
    found = command(tmp_path, "memo", "score", "--from", name, check=False)
    assert found.returncode == 2
    assert "Traceback" not in found.stderr
    assert "is not a valid name" in found.stderr
    with pytest.raises(InputError, match="odd"):
        read_likelihoods(tmp_path / "odd\0.csv")


@pytest.mark.parametrize(
    "facts",
    [
        {"weight": 0.5},
        {"largest_bound": 0.5},
        {"epsilon": 1.0},
        {"delta": 1e-5},
        {"weight": [1], "largest_bound": 1.0},
        {"weight": 10**400, "largest_bound": 1.0},
        {"epsilon": True, "delta": 0.1},
        {"epsilon": "much", "delta": 0.1},
        {"removed": 3},
        {"removed": [-1]},
        {"removed": [10**30]},
        {"removed": [True]},
        {"removed": {"0": 1}},
        {"removed": None},
    ],
)
def test_forged_facts_of_mitigations(facts: dict[str, Any], own: Path) -> None:
    text = {name: json.dumps(value) for name, value in facts.items()}
    with pytest.raises(ArtifactError, match=r"was not written by memo|stands there by itself"):
        stored_values(text, "scores")


def test_forged_facts_end_a_report_in_words(own: Path) -> None:
    file = Layout(own).scores("fast")
    table, facts = read_table(file, SCORES)
    write_table(file, table, SCORES, facts | {"weight": "0.5"})
    with pytest.raises(ArtifactError, match=r"fast\.parquet: its fact 'weight' stands there by"):
        load(own).read_scores()
