"""Where tasks run: in this process, or in worker processes on this machine."""

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import loky
from loky.process_executor import TerminatedWorkerError

from memo.errors import InputError, WorkError

__all__ = ["Executor", "InProcess", "Processes", "Results", "local_executor"]

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Result = TypeVar("Result")

Results: TypeAlias = Generator[tuple[int, Result], None, None]
"""Pairs of a task's position and its result, as tasks finish; `close` ends what still runs."""

RESTARTS = 3
"""How often workers that die in a row, with no task finished between, are replaced."""


PARENT_INTERVAL = 1.0
"""Seconds between a worker's looks at whether its parent lives."""


class Executor(Protocol):
    """Runs one function over many tasks; what a task returns depends on the task alone."""

    def run(
        self,
        function: Callable[[Shared, Task], Result],
        shared: Shared,
        tasks: Sequence[Task],
    ) -> Results[Result]:
        """Yield (position, result) as tasks finish.

        Args:
            function: A module-level function.
            shared: What all tasks read; it is sent to each worker once.
            tasks: One argument each.
        """
        ...


class InProcess:
    """One task after another, here."""

    def run(
        self,
        function: Callable[[Shared, Task], Result],
        shared: Shared,
        tasks: Sequence[Task],
    ) -> Results[Result]:
        """See `Executor.run`."""
        for position, task in enumerate(tasks):
            yield position, function(shared, task)


class Processes:
    """Worker processes on this machine.

    A worker that dies takes only its own tasks with it: they are given to a new one.

    Args:
        workers: How many.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(
        self,
        function: Callable[[Shared, Task], Result],
        shared: Shared,
        tasks: Sequence[Task],
    ) -> Results[Result]:
        """See `Executor.run`; leaving the iteration, by any way, kills the workers.

        Raises:
            WorkError: Workers keep dying.
        """
        left = dict(enumerate(tasks))
        deaths = 0
        while left:
            before = len(left)
            try:
                for position, result in self._run_until_a_death(function, shared, dict(left)):
                    del left[position]
                    yield position, result
            except TerminatedWorkerError as error:
                deaths = 1 if len(left) < before else deaths + 1
                if deaths > RESTARTS:
                    raise WorkError(
                        f"worker processes died {deaths} times without finishing a task; "
                        f"is there enough memory? ({str(error).splitlines()[0]})"
                    ) from None

    def _run_until_a_death(
        self,
        function: Callable[[Shared, Task], Result],
        shared: Shared,
        tasks: dict[int, Task],
    ) -> Results[Result]:
        # Killed workers cannot release their locks; loky's tracker does, and need not warn of it.
        os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
        executor = loky.ProcessPoolExecutor(
            max_workers=min(self.workers, len(tasks)),
            initializer=_start_worker,
            initargs=(function, shared),
        )
        try:
            futures = {executor.submit(_run_task, task): p for p, task in tasks.items()}
            for future in loky.as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            _kill_now(executor)
            raise
        executor.shutdown(wait=True, kill_workers=True)


def local_executor(workers: int | None = None) -> Executor:
    """The executor for this machine.

    Args:
        workers: Worker processes; by default MEMO_WORKERS, or one for each core that this process
            may use.

    Raises:
        InputError: MEMO_WORKERS is not a positive number.
    """
    count = workers if workers is not None else _default_workers()
    return InProcess() if count == 1 else Processes(count)


def _default_workers() -> int:
    setting = os.environ.get("MEMO_WORKERS")
    if setting is None:
        return int(loky.cpu_count())
    if not setting.isdecimal() or int(setting) < 1:
        raise InputError(f"MEMO_WORKERS must be a positive number, not {setting!r}")
    return int(setting)


def _kill_now(executor: loky.ProcessPoolExecutor) -> None:
    """Kill the workers without the seconds that an orderly shutdown may take."""
    for process in list(executor._processes.values()):
        process.terminate()
    executor.shutdown(wait=False, kill_workers=True)


_worker: tuple[Callable[[Any, Any], Any], Any] | None = None


def _start_worker(function: Callable[[Any, Any], Any], shared: Any) -> None:
    global _worker  # noqa: PLW0603 -- a worker process has one function and one shared argument
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when work ends
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
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
