"""Executors give the same results, and survive their workers."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest

from memo.errors import InputError, WorkError
from memo.execution.choice import executor
from memo.execution.payload import pack, unpack
from memo.execution.processes import InProcess, Processes, gpu_of
from memo.execution.protocol import Lazy
from memo.training.device import gpu_names
from tests.conftest import until, workers_of
from tests.execution_tasks import (
    die,
    die_once,
    fail,
    grow,
    leave,
    power,
    remember,
    see_another_die,
    visible_gpu,
    visible_gpu_of_survivors,
)


def test_executors_agree() -> None:
    tasks = [3, 1, 2, 5]
    for one in (InProcess(), Processes(2)):
        found = {p: result[0] for p, result in one.run(power, 2, tasks)}
        assert found == {0: 8, 1: 2, 2: 4, 3: 32}


def test_processes_are_other_processes() -> None:
    pids = {result[1] for _, result in Processes(2).run(power, 2, [1, 2, 3])}
    assert os.getpid() not in pids


def test_what_tasks_share_is_sent_to_a_worker_once() -> None:
    found = dict(Processes(1).run(remember, [0], [1, 2, 3]))
    assert found == {0: [0, 1], 1: [0, 1, 2], 2: [0, 1, 2, 3]}


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    found = dict(Processes(1).run(die_once, str(tmp_path), list(range(5))))
    assert {i: task for i, (task, _) in found.items()} == {i: i for i in range(5)}
    assert len({pid for _, pid in found.values()}) == 2


def test_a_worker_that_dies_costs_only_its_own_task(tmp_path: Path) -> None:
    found = dict(Processes(2).run(see_another_die, str(tmp_path), ["bystander", "victim"]))
    assert [task for task, _ in found.values()].count("victim") == 1
    started = sorted(file.name.split("-")[0] for file in tmp_path.iterdir())
    assert started == ["bystander", "victim", "victim"]


def test_workers_that_keep_dying_are_an_error_that_names_the_task() -> None:
    with pytest.raises(WorkError, match=r"fold 7: its worker died 4 times \(exit code SIGKILL"):
        list(Processes(2).run(die, None, [1], ["fold 7"]))


def test_a_worker_that_leaves_is_told_with_its_exit_code() -> None:
    with pytest.raises(WorkError, match=r"^task 0: its worker died 4 times \(exit code 7\)"):
        list(Processes(1).run(leave, None, [7]))


def test_a_worker_that_grows_is_kept() -> None:
    found = [pid for _, pid in Processes(1).run(grow, [], [0, 400, 0])]
    assert len(set(found)) == 1


def test_an_error_in_a_task_comes_back_as_itself() -> None:
    for one in (InProcess(), Processes(2)):
        with pytest.raises(WorkError, match="task 7 cannot be done"):
            list(one.run(fail, None, [7]))


def test_what_no_module_holds_goes_to_workers_too() -> None:
    offset = 3

    def shifted(shared: int, task: int) -> int:
        return shared + task + offset

    assert dict(Processes(2).run(shifted, 10, [1, 2])) == {0: 14, 1: 15}


def test_a_script_without_a_main_guard_is_run_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from memo.execution.processes import Processes\n"
        "def mine(shared, task):\n"
        "    return shared * task\n"
        "print(sorted(dict(Processes(2).run(mine, 2, [1, 2])).values()))\n"
    )
    found = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "[2, 4]\n"


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_a_parent_takes_its_busy_workers_with_it(signal_number: int, tmp_path: Path) -> None:
    """Polars is there, as in a stage, and with it its own handler of SIGINT."""
    temporary, pids = tmp_path / "temporary", tmp_path / "pids"
    for folder in (temporary, pids):
        folder.mkdir()
    code = (
        "import sys\n"
        "import polars\n"
        "from memo.execution.processes import Processes\n"
        "from tests.execution_tasks import hold\n"
        "list(Processes(2).run(hold, sys.argv[1], [1, 2]))\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(pids)],
        env={**os.environ, "TMPDIR": str(temporary)},
        cwd=Path(__file__).parent.parent,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: len(list(pids.iterdir())) == 2)
    parent.send_signal(signal_number)
    try:
        parent.wait(10)
    finally:
        parent.kill()
    until(lambda: not any(psutil.pid_exists(int(file.name)) for file in pids.iterdir()), 10)
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("finished", [True, False])
def test_no_worker_outlives_its_run(finished: bool, tmp_path: Path) -> None:
    before = set(workers_of(os.getpid()))
    if finished:
        list(Processes(2).run(power, 2, [1, 2]))
    else:
        results = Processes(2).run(see_another_die, str(tmp_path), ["victim", "bystander", "-"])
        next(results)
        results.close()
    until(lambda: set(workers_of(os.getpid())) <= before, 2)


def test_tasks_are_made_when_a_worker_is_free_for_them() -> None:
    made: list[int] = []

    def make(item: int) -> int:
        made.append(item)
        return item

    tasks: Sequence[int] = Lazy(make, [1, 2, 3, 4, 5, 6, 7, 8])
    results = Processes(2).run(power, 2, tasks)
    next(results)
    assert len(made) <= 4  # two that run, and those that take the place of what has ended
    results.close()


def test_each_worker_sees_one_gpu() -> None:
    gpus = ["GPU-a", "GPU-b"]
    found = [seen for _, seen in Processes(3, gpus).run(visible_gpu, None, list(range(6)))]
    assert {gpu for gpu, _ in found} == set(gpus)
    assert len(set(found)) == len({pid for _, pid in found})  # always the same one


def test_the_worker_that_replaces_a_dead_one_takes_its_gpu(tmp_path: Path) -> None:
    run = Processes(2, ["0", "1"]).run(visible_gpu_of_survivors, str(tmp_path), [0, 1])
    assert dict(run) == {0: "0", 1: "1"}


def test_gpus_are_dealt_in_turn() -> None:
    assert [gpu_of(worker, ["0", "1", "2"]) for worker in range(7)] == list("0120120")
    assert gpu_of(5, []) is None


def test_names_of_gpus() -> None:
    assert gpu_names(None, 3) == ["0", "1", "2"]
    assert gpu_names("2, GPU-8f", 2) == ["2", "GPU-8f"]
    assert gpu_names("1,-1,0", 1) == ["1"]  # CUDA stops at the first that it does not know
    assert gpu_names("", 0) == []


@pytest.mark.parametrize(
    ("settings", "given", "expected"),
    [
        ({}, {"workers": 1}, InProcess()),
        ({}, {"workers": 3}, Processes(3)),
        ({"MEMO_WORKERS": "3"}, {}, Processes(3)),
        ({"MEMO_WORKERS": "3"}, {"workers": 2}, Processes(2)),
        ({"MEMO_EXECUTOR": "processes"}, {"workers": 1}, Processes(1)),
        ({"MEMO_EXECUTOR": "in-process"}, {"workers": 4}, InProcess()),
        ({}, {"gpus": ["0", "3"]}, Processes(2, ["0", "3"])),
        ({"MEMO_WORKERS": "4"}, {"gpus": ["0", "3"]}, Processes(4, ["0", "3"])),
        ({}, {"gpus": ["0"]}, InProcess()),
    ],
)
def test_which_executor(
    settings: dict[str, str],
    given: dict[str, object],
    expected: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("MEMO_EXECUTOR", "MEMO_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    chosen = executor(**given)  # type: ignore[arg-type]
    assert type(chosen) is type(expected)
    assert vars(chosen) == vars(expected)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MEMO_WORKERS", "many", "MEMO_WORKERS must be a positive number, not 'many'"),
        ("MEMO_WORKERS", "0", "MEMO_WORKERS"),
        ("MEMO_EXECUTOR", "proceses", r"in-process, processes, ray, not 'proceses'.*processes\?"),
        ("MEMO_TASK_CPUS", "-1", "MEMO_TASK_CPUS must be a share of one or a whole number"),
        ("MEMO_TASK_GPUS", "1.5", "MEMO_TASK_GPUS"),
        ("MEMO_TASK_GPUS", "all", "MEMO_TASK_GPUS"),
    ],
)
def test_settings_that_are_wrong(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMO_EXECUTOR", "ray")
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message):
        executor()


def test_ray_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMO_EXECUTOR", "ray")
    monkeypatch.delitem(sys.modules, "memo.execution.cluster", raising=False)
    monkeypatch.setattr(sys, "path", [])  # nothing more can be found
    for name in [name for name in sys.modules if name.split(".")[0] == "ray"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match=r"pip install 'memo-audit\[ray\]'"):
        executor()


def test_a_payload_has_the_content_of_mapped_files(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.save(tmp_path / "array.npy", array)
    mapped = np.load(tmp_path / "array.npy", mmap_mode="r")
    payload = pack({"mapped": mapped, "part": mapped[:, ::2], "empty": array[:0], "f": power})
    (tmp_path / "array.npy").unlink()
    copy = [part.copy() for part in payload]
    assert str(tmp_path).encode() not in b"".join(part.tobytes() for part in copy)
    found = unpack(copy)
    assert type(found["mapped"]) is np.ndarray
    np.testing.assert_array_equal(found["mapped"], array)
    np.testing.assert_array_equal(found["part"], array[:, ::2])
    assert found["empty"].shape == (0, 4)
    assert found["f"](2, 3)[0] == 8
