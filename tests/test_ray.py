"""Tasks on a real Ray cluster: two nodes of one processor each, started here."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from memo.artifacts.layout import Layout
from memo.errors import InputError, WorkError
from memo.execution.processes import InProcess, Processes
from memo.execution.protocol import Executor
from memo.pipeline.prepare import prepare
from memo.pipeline.score import score
from memo.pipeline.stored_experiment import load_experiment
from memo.pipeline.train import train
from memo.project.reading import read_project
from tests.conftest import BIN, ROOT, SPEC, command, contents, edit, until
from tests.execution_tasks import die, fail, power, seen_content, wait_for_release

ray = pytest.importorskip("ray")

from ray.cluster_utils import Cluster  # noqa: E402 -- Ray is an optional extra

from memo.execution.cluster import Ray, slots  # noqa: E402

STORE = 100 << 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster that this process has joined."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        folder = tempfile.mkdtemp(prefix="ray-")  # names of sockets must be short
        patch.setenv("RAY_TMPDIR", folder)
        (Path(folder) / "ray").mkdir()  # where Ray notes the cluster, and has not yet made a place
        head = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
        started = Cluster(initialize_head=True, head_node_args={**head, "temp_dir": folder})
        try:
            ray.init(started.address, log_to_driver=False, logging_level="error")
            started.add_node(num_cpus=1, object_store_memory=STORE)
            yield started
        finally:
            ray.shutdown()
            started.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def running_tasks(name: str) -> list[psutil.Process]:
    """Worker processes that are at work on a task whose name starts so."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] and process.info["cmdline"][0].startswith(f"ray::{name}")
    ]


def in_session(leader: int) -> list[psutil.Process]:
    """Processes that came of one, and run."""
    found = []
    for process in psutil.process_iter(["status"]):
        with suppress(ProcessLookupError):
            if os.getsid(process.pid) == leader and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def kill_one(name: str, killed: list[int]) -> threading.Thread:
    """Kill one worker as soon as it is at work on such a task."""

    def kill() -> None:
        while not (found := running_tasks(name)):
            time.sleep(0.02)
        found[0].kill()
        killed.append(found[0].pid)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def scored(folder: Path, one: Executor) -> dict[str, dict[str, bytes]]:
    """Files that training and scoring write."""
    folder.mkdir()
    (folder / "params.yaml").write_text(SPEC)
    project, layout = read_project(folder / "params.yaml"), Layout(folder)
    prepare(project, layout, "digits")
    experiment = load_experiment(project, layout, "fast")
    train(experiment, one)
    score(experiment, one)
    return {
        name: contents(folder / "artifacts" / name)
        for name in ("scores", "full", "folds/fast", "log_likelihoods/fast")
    }


def test_executors_give_identical_scores_though_workers_are_killed(
    cluster: Cluster, tmp_path: Path
) -> None:
    killed: list[int] = []
    killer = kill_one("experiment fast, repeat", killed)
    with_ray = scored(tmp_path / "ray", Ray())
    killer.join()
    assert killed
    assert with_ray == scored(tmp_path / "in-process", InProcess())
    assert with_ray == scored(tmp_path / "processes", Processes(2))


def test_a_node_that_dies_costs_only_its_own_tasks(cluster: Cluster, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=1, object_store_memory=STORE)
    found: dict[int, tuple[int, str]] = {}
    run = Ray().run(wait_for_release, str(tmp_path), [0, 1, 2])
    thread = threading.Thread(target=lambda: found.update(run))
    thread.start()
    until(lambda: len(list(tmp_path.iterdir())) == 3)
    assert len({file.name.split("-")[1] for file in tmp_path.iterdir()}) == 3
    cluster.remove_node(node, allow_graceful=False)
    (tmp_path / "release").touch()
    thread.join(120)
    assert {position: task for position, (task, _) in found.items()} == {0: 0, 1: 1, 2: 2}
    assert node.node_id not in {where for _, where in found.values()}
    started = [file.name for file in tmp_path.iterdir() if file.name != "release"]
    assert len(started) <= 4  # the others were not begun again


def test_errors_come_back_as_themselves_and_deaths_are_bounded(cluster: Cluster) -> None:
    with pytest.raises(WorkError, match=r"^task 7 cannot be done$"):
        list(Ray().run(fail, None, [7]))
    with pytest.raises(TypeError):
        list(Ray().run(power, "text", [1]))
    with pytest.raises(WorkError, match=r"^fold 3: its worker died 4 times \("):
        list(Ray().run(die, None, [1], ["fold 3"]))


def test_what_is_sent_is_content_and_no_path(cluster: Cluster, tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.arange(100_000))
    mapped = np.load(tmp_path / "array.npy", mmap_mode="r")
    (tmp_path / "array.npy").unlink()
    expected = int(mapped.sum())
    found = dict(Ray(workers=1).run(seen_content, {"mapped": mapped}, [1, 2]))
    assert found == {0: (expected + 1, False), 1: (expected + 2, False)}


def test_a_task_that_fits_nowhere(cluster: Cluster) -> None:
    with pytest.raises(InputError, match="no node of the Ray cluster has 1 CPU and 8 GPUs"):
        list(Ray(gpus=8).run(power, 2, [1]))


def test_how_many_tasks_a_node_takes() -> None:
    node = {"CPU": 8.0, "GPU": 2.0, "memory": 1e9}
    assert slots(node, {"CPU": 1, "GPU": 0}) == 8
    assert slots(node, {"CPU": 1, "GPU": 1}) == 2
    assert slots(node, {"CPU": 1, "GPU": 0.25}) == 8
    assert slots(node, {"CPU": 0.1, "GPU": 0}) == 80
    assert slots({"CPU": 8.0}, {"CPU": 1, "GPU": 1}) == 0


JOIN = """
    import sys

    sys.path.insert(0, "installed")
    from memo.errors import MemoError
    from memo.execution.cluster import Ray

    sys.path.remove("installed")  # Ray's workers on this machine look where this process looks

    def mine(shared, task):  # no node has a module with it
        return shared + task

    for address in sys.argv[1:]:
        try:
            print(list(Ray(address, workers=1).run(mine, 1, [2])))
        except MemoError as error:
            print(error.exit_code, error)
"""


def test_joining_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    join = [sys.executable, "-c", textwrap.dedent(JOIN)]
    (tmp_path / "installed").mkdir()
    failed, found = command(tmp_path, *join, "127.0.0.1:1", cluster.address).stdout.splitlines()
    assert failed.startswith("2 MEMO_EXECUTOR=ray: no cluster at '127.0.0.1:1': ")
    assert found == "[(0, 3)]"

    shutil.copytree(ROOT / "memo", tmp_path / "installed" / "memo")
    with (tmp_path / "installed" / "memo" / "__init__.py").open("a") as file:
        file.write("# another memo\n")
    other = command(tmp_path, *join, cluster.address).stdout
    here = r"this machine memo of source (?!\1)\w{8}"
    assert re.match(rf"1 Ray node \S+ has memo of source (\w{{8}}), {here}", other)
    assert ray.cluster_resources()["CPU"] == 2  # the cluster is left as it was


def test_an_interrupt_leaves_nothing_behind(project: Path) -> None:
    edit(project / "params.yaml", "epochs: 6, batch_size: 16", "epochs: 2000, batch_size: 4")
    command(project, "memo", "prepare", "digits")
    temporary = Path(tempfile.mkdtemp(prefix="t-"))
    process = subprocess.Popen(
        [str(BIN / "memo"), "train", "fast", "--workers", "1"],
        cwd=project,
        env={**os.environ, "MEMO_EXECUTOR": "ray", "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        until(lambda: running_tasks("experiment fast"))
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, stderr = process.communicate(timeout=60)
        until(lambda: not in_session(process.pid), 30)
    finally:
        for left in in_session(process.pid):
            left.kill()
    assert process.returncode == 130, stderr
    assert list(temporary.iterdir()) == []
    assert "Traceback" not in stderr
    assert re.search(r"interrupted; 0 of 7 models are kept", stderr)
    temporary.rmdir()
