"""Executors give the same results, and survive their workers."""

import os
import signal
import time
from pathlib import Path

import pytest

from memo.errors import InputError, WorkError
from memo.execution import InProcess, Processes, local_executor


def power(shared: int, task: int) -> tuple[int, int]:
    return shared**task, os.getpid()


def die_once(shared: str, task: int) -> int:
    marker = Path(shared) / str(task)
    if task == 2 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def die(_: None, __: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(_: None, task: int) -> None:
    raise WorkError(f"task {task} cannot be done")


def sleep(_: None, __: int) -> None:
    time.sleep(60)


def test_executors_agree() -> None:
    tasks = [3, 1, 2, 5]
    for executor in (InProcess(), Processes(2)):
        found = {p: result[0] for p, result in executor.run(power, 2, tasks)}
        assert found == {0: 8, 1: 2, 2: 4, 3: 32}


def test_processes_are_other_processes() -> None:
    pids = {result[1] for _, result in Processes(2).run(power, 2, [1, 2, 3])}
    assert os.getpid() not in pids


def test_a_worker_that_dies_costs_only_its_own_task(tmp_path: Path) -> None:
    found = dict(Processes(2).run(die_once, str(tmp_path), list(range(5))))
    assert found == {i: i for i in range(5)}


def test_workers_that_keep_dying_are_an_error() -> None:
    with pytest.raises(WorkError, match="worker processes died"):
        list(Processes(2).run(die, None, [1]))


def test_an_error_in_a_task_comes_back_as_itself() -> None:
    for executor in (InProcess(), Processes(2)):
        with pytest.raises(WorkError, match="task 7 cannot be done"):
            list(executor.run(fail, None, [7]))


def test_leaving_early_kills_the_workers() -> None:
    results = Processes(2).run(power, 2, [1, 2])
    next(results)
    start = time.monotonic()
    results.close()  # type: ignore[attr-defined]
    assert time.monotonic() - start < 2


def test_the_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMO_WORKERS", "3")
    executor = local_executor()
    assert isinstance(executor, Processes)
    assert executor.workers == 3
    assert isinstance(local_executor(1), InProcess)
    monkeypatch.setenv("MEMO_WORKERS", "many")
    with pytest.raises(InputError, match="MEMO_WORKERS"):
        local_executor()
