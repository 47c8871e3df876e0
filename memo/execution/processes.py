"""Tasks in this process, or in worker processes on this machine."""

import os
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import loky
from loky.process_executor import TerminatedWorkerError

from memo.execution.protocol import Deaths, Results, named

__all__ = ["InProcess", "Processes", "gpu_of"]

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Result = TypeVar("Result")

PARENT_INTERVAL = 1.0
"""Seconds between a worker's looks at whether its parent lives."""


class InProcess:
    """One task after another, here."""

    def run(
        self,
        function: Callable[[Shared, Task], Result],
        shared: Shared,
        tasks: Sequence[Task],
        names: Sequence[str] | None = None,
    ) -> Results[Result]:
        """See `Executor.run`."""
        for position in range(len(tasks)):
            yield position, function(shared, tasks[position])


class Processes:
    """Worker processes on this machine.

    Each worker is a pool of its own: one that dies takes only its own task with it, and the one
    that replaces it computes on the same GPU.

    Args:
        workers: How many.
        gpus: GPUs by their names in CUDA_VISIBLE_DEVICES; each worker sees one, dealt in turn.
    """

    def __init__(self, workers: int, gpus: Sequence[str] = ()) -> None:
        self.workers = workers
        self.gpus = tuple(gpus)

    def run(
        self,
        function: Callable[[Shared, Task], Result],
        shared: Shared,
        tasks: Sequence[Task],
        names: Sequence[str] | None = None,
    ) -> Results[Result]:
        """See `Executor.run`."""
        deaths = Deaths(named(names, tasks))
        waiting = deque(range(len(tasks)))
        workers = [
            _Worker(function, shared, gpu_of(rank, self.gpus))
            for rank in range(min(self.workers, len(tasks)))
        ]
        free = deque(workers)
        running: dict[loky.Future, tuple[_Worker, int]] = {}
        finished: list[tuple[int, Result]] = []
        try:
            while waiting or running or finished:
                while waiting and free:
                    worker, position = free.popleft(), waiting.popleft()
                    running[worker.start(tasks[position])] = worker, position
                yield from finished  # while workers that were free are at work again
                finished = []
                for future in _first_completed(running):
                    worker, position = running.pop(future)
                    free.append(worker)
                    try:
                        finished.append((position, future.result()))
                    except TerminatedWorkerError as error:
                        deaths.note(position, _exit_code(error))
                        waiting.appendleft(position)
        finally:
            for worker in workers:
                worker.kill()


def gpu_of(worker: int, gpus: Sequence[str]) -> str | None:
    """Which GPU a worker computes on: they are dealt in turn; None where there are none."""
    return gpus[worker % len(gpus)] if gpus else None


def _first_completed(running: dict[loky.Future, Any]) -> list[loky.Future]:
    return list(loky.wait(running, return_when=loky.FIRST_COMPLETED).done) if running else []


def _exit_code(error: Exception) -> str:
    code = re.search(r"\{(.+)\}", str(error))  # loky says it in its message alone
    return f"exit code {code[1]}" if code else "of an unknown cause"


class _Worker:
    """One worker process after another: a new one where the last has died."""

    def __init__(self, function: Callable[[Any, Any], Any], shared: Any, gpu: str | None) -> None:
        self._start = function, shared, os.getpid()
        self._environment = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        self._pool: loky.ProcessPoolExecutor | None = None

    def start(self, task: Any) -> loky.Future:
        """Give it a task; it must be free."""
        try:
            return self._living().submit(_run_task, task)
        except TerminatedWorkerError:  # since its last task
            self._pool = None
            return self._living().submit(_run_task, task)

    def kill(self) -> None:
        """End it without the seconds that an orderly shutdown may take."""
        if self._pool is None:
            return
        for process in list(self._pool._processes.values()):
            process.terminate()
        self._pool.shutdown(wait=False, kill_workers=True)

    def _living(self) -> loky.ProcessPoolExecutor:
        if self._pool is None:
            # Killed workers cannot release their locks; loky's tracker does, and need not warn.
            os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
            self._pool = loky.ProcessPoolExecutor(
                max_workers=1,
                initializer=_prepare_worker,
                initargs=self._start,
                env=self._environment,
            )
        return self._pool


_worker: tuple[Callable[[Any, Any], Any], Any] | None = None


def _prepare_worker(function: Callable[[Any, Any], Any], shared: Any, parent: int) -> None:
    global _worker  # noqa: PLW0603 -- a worker process has one function and one shared argument
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when work ends
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    _worker = (function, shared)


def _end_with_parent(parent: int) -> None:
    """A parent that was killed cannot tell its workers, which would wait for it for ever."""
    while os.getppid() == parent:
        time.sleep(PARENT_INTERVAL)
    os._exit(1)


def _run_task(task: Any) -> Any:
    assert _worker is not None
    function, shared = _worker
    return function(shared, task)
