"""Disks that fill, clocks that jump, processes that die, two at once: what is said, what is kept.

Kills and interrupts in mid-training are in test_interruptions.py, workers that die in
test_execution.py.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from memo.artifacts.layout import Layout
from memo.artifacts.lock import locked
from memo.errors import WorkError
from memo.execution.processes import InProcess
from memo.pipeline.attack import attack
from memo.pipeline.neighbors import neighbors
from memo.pipeline.prepare import prepare
from memo.pipeline.sample import sample
from memo.pipeline.score import score
from memo.pipeline.stored_experiment import load_experiment
from memo.pipeline.train import train
from memo.project.reading import read_project
from tests.conftest import (
    BIN,
    ROOT,
    SMALL,
    SPEC,
    command,
    contents,
    edit,
    files,
    make_project,
    workers_of,
)
from tests.in_process import load

NAMESPACE = ("unshare", "--map-root-user", "--mount")


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    mounted = [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(mounted, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="no mount namespace can be had here")
def test_disks_that_fill_or_are_read_only(trained: Path, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    (project / "params.yaml").write_text(SMALL)
    run = command(
        project,
        *NAMESPACE,
        sys.executable,
        "-m",
        "tests.faults_of_disks",
        PYTHONPATH=str(ROOT),
    )
    found = json.loads(run.stdout)
    for what, outcome in found.items():
        _, state = what.split(", ")
        assert outcome["code"] == (state != "freed"), (what, outcome)
        assert "Traceback" not in outcome["errors"]
        assert not [name for name in outcome["files"] if name.endswith(".tmp")], what
        if state != "freed":
            reason = {"full": "No space left on device", "read-only": "Read-only file system"}
            assert reason[state] in outcome["errors"], (what, outcome)
    named = r"memo: data/prepared/digits/\S+: cannot be written"
    assert re.match(named, found["prepare, full"]["errors"])
    assert "data/prepared/digits/dataset.json" not in found["prepare, full"]["files"]

    full = found["train, full"]
    kept = [name for name in full["files"] if "/folds/" in name]
    assert 0 < len(kept) < 6
    assert f"stopped; {len(kept)} of 7 models are kept" in full["errors"]
    assert f"{len(kept)} of 7 models are kept" in found["train, freed"]["errors"]
    assert "stopped; 0 of 6 tables of log-likelihoods are kept" in found["score, full"]["errors"]
    for kind in ("folds/fast", "full", "log_likelihoods/fast", "scores"):
        here = contents(project / "kept" / kind)
        assert here == contents(trained / "artifacts" / kind), kind


def test_one_at_a_time_and_no_lock_outlives_its_holder(own: Path, tmp_path: Path) -> None:
    shutil.rmtree(own / "artifacts")
    edit(own / "params.yaml", "epochs: 6, batch_size: 16", "epochs: 10, batch_size: 4")
    truth = Path(shutil.copytree(own, tmp_path / "truth"))
    edit(own / "params.yaml", "repeats: 2", "repeats: 400")
    first = subprocess.Popen(
        [str(BIN / "memo"), "train", "fast", "--workers", "2"],
        cwd=own,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    folds = own / "artifacts" / "folds" / "fast"

    def wait_for_more_than(models: int) -> None:
        deadline = time.monotonic() + 300
        while len(list(folds.glob("r*"))) <= models:
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    wait_for_more_than(0)
    with pytest.raises(WorkError, match=rf"must wait for memo train fast \(process {first.pid} on"):
        train(load(own), InProcess())
    workers_of(first.pid)[-1].kill()
    wait_for_more_than(len(list(folds.glob("r*"))))

    orphans = workers_of(first.pid)
    first.kill()
    first.wait()
    _, alive = psutil.wait_procs(orphans, timeout=30)
    assert not alive
    kept = files(folds)
    edit(own / "params.yaml", "repeats: 400", "repeats: 2")
    for project in (own, truth):
        train(load(project), InProcess())
    expected = contents(truth / "artifacts" / "folds" / "fast")
    after = files(folds)
    assert {name: after[name][1] for name in expected} == expected
    assert {name: after[name] for name in kept if name in expected} == {
        name: kept[name] for name in kept if name in expected
    }


def test_only_writers_of_the_same_files_wait(own: Path) -> None:
    (own / "params.yaml").write_text(SPEC.replace("limit: 120", "limit: 60"))
    project, layout = read_project(own / "params.yaml"), Layout(own)
    fast, slow = (load_experiment(project, layout, name) for name in ("fast", "slow"))
    with locked(layout.lock("experiments", "fast"), "memo train fast"):
        for stage in (
            lambda: train(fast, InProcess()),
            lambda: score(fast, InProcess()),
            lambda: sample(fast),
            lambda: neighbors(fast),
            lambda: attack(fast),
        ):
            with pytest.raises(WorkError, match="must wait for memo train fast"):
                stage()
        assert train(slow, InProcess()) == 7
        assert prepare(project, layout, "digits")["observations"] == 60
    assert train(fast, InProcess()) == 0
    with (
        locked(layout.lock("datasets", "digits"), "memo prepare digits"),
        pytest.raises(WorkError, match="must wait for memo prepare digits"),
    ):
        prepare(project, layout, "digits")


class InterruptedAtOnce(InProcess):
    """Ctrl-C before the first task is done."""

    def run(self, *task: Any) -> Any:
        # a shell's background job starts with interrupts ignored
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.signal(signal.SIGINT, before)
        yield from super().run(*task)


def test_clocks_do_not_count(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folds = own / "artifacts" / "folds" / "fast"
    truth = contents(folds)
    for year, file in enumerate(sorted(folds.iterdir())):
        os.utime(file, (year * 1e9, year * 1e9))  # 1970, 2001, ... 2128
    assert train(load(own), InProcess()) == 0
    assert contents(folds) == truth
    last = folds / "r001-f002.safetensors"
    last.write_bytes(b"not a model")
    os.utime(last, (5e9, 5e9))

    with pytest.raises(KeyboardInterrupt):
        train(load(own), InterruptedAtOnce())
    assert "fast: interrupted; 6 of 7 models are kept" in capsys.readouterr().err
    assert train(load(own), InProcess()) == 1
    assert contents(folds) == truth
