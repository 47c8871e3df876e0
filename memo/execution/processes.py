"""Tasks in this process, or in worker processes on this machine.

Worker processes are loky's. Each has an executor of its own, because a worker that dies breaks its
executor, and all tasks of that.
"""

import os
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, TypeAlias, TypeVar

from loky import ProcessPoolExecutor
from loky.process_executor import TerminatedWorkerError

from memo.execution.payload import Payload, pack, unpack
from memo.execution.protocol import Results, WorkerDiedError, stream

__all__ = ["InProcess", "Processes", "gpu_of"]

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Result = TypeVar("Result")
Handle: TypeAlias = "Future[Any]"

ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "LOKY_MAX_MEMORY_LEAK_SIZE": str(1 << 60)}
"""One thread of BLAS for each worker, as there is a worker for each core; and no restart of a
worker that has grown by 300 MB, which loky takes for a leak and which large models need."""

PARENT_INTERVAL = 1.0
"""Seconds between a worker's looks at whether its parent lives."""


class InProcess:
    """One task after another, in this process."""

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

    One that dies takes only its own task with it, and the one that replaces it computes on the
    same GPU.

    Args:
        workers: Number of processes.
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
        job = pack((function, shared))
        count = min(self.workers, len(tasks))
        slots = [_Slot(job, gpu_of(rank, self.gpus)) for rank in range(count)]
        return stream(_Slots(slots), tasks, names)


def gpu_of(worker: int, gpus: Sequence[str]) -> str | None:
    """Return the GPU of a worker: they are dealt in turn; None where there are none."""
    return gpus[worker % len(gpus)] if gpus else None


class _Slots:
    """Places for workers, as `stream` sees them."""

    def __init__(self, slots: Sequence["_Slot"]) -> None:
        self._slots = slots
        self._free = deque(slots)
        self._busy: dict[Handle, _Slot] = {}

    def room(self) -> int:
        return len(self._slots)

    def start(self, task: Any, name: str) -> Handle:
        slot = self._free.popleft()
        handle = slot.start(pack(task))
        self._busy[handle] = slot
        return handle

    def wait(self, running: Sequence[Handle]) -> Iterable[Handle]:
        return wait(running, return_when=FIRST_COMPLETED).done

    def result(self, handle: Handle, name: str) -> Any:
        slot = self._busy.pop(handle)
        self._free.append(slot)
        try:
            return handle.result()
        except TerminatedWorkerError as error:
            slot.end()
            raise WorkerDiedError(_exit_code(error)) from None

    def end(self, running: Iterable[Handle]) -> None:
        for slot in self._slots:
            slot.end()


class _Slot:
    """A place for one worker process, which is started for the first task and after each death.

    Args:
        job: A packed function and what its tasks share.
        gpu: Name of the GPU that the worker sees; None for all.
    """

    def __init__(self, job: Payload, gpu: str | None) -> None:
        self._job = job
        self._environment = ENVIRONMENT | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})
        self._executor: ProcessPoolExecutor | None = None

    def start(self, task: Payload) -> Handle:
        """Hand a packed task to the worker; a new one gets the job with its first task."""
        job = None
        resource_tracker.ensure_running()  # which would unblock signals below
        with _blocked_interrupts():
            if self._executor is None:
                job = self._job
                self._executor = ProcessPoolExecutor(
                    1,
                    initializer=_watch_parent,
                    initargs=(os.getpid(),),
                    env=self._environment,
                )
            handle: Handle = self._executor.submit(_run, job, task)
        return handle

    def end(self) -> None:
        """Kill the worker; do not wait for its end."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, kill_workers=True)
            self._executor = None


@contextmanager
def _blocked_interrupts() -> Iterator[None]:
    """Block interrupts in processes that are started meanwhile: their parent ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_code(error: TerminatedWorkerError) -> str:
    """Tell the exit code that stands in loky's message as {SIGKILL(-9)} or {EXIT(1)}."""
    found = re.search(r"\{\w+\((-?\d+)\)", str(error))
    if found is None:
        return "exit code unknown"
    code = int(found[1])
    return f"exit code {signal.Signals(-code).name if code < 0 else code}"


def _watch_parent(parent: int) -> None:
    """Let a worker die with its parent, which cannot end it when it is killed itself."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_INTERVAL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


_held: tuple[Callable[[Any, Any], Any], Any] | None = None


def _run(job: Payload | None, task: Payload) -> Any:
    """Run a task in a worker, which holds the job of its first task for all."""
    global _held  # noqa: PLW0603 -- a worker process works for one run
    if job is not None:
        _held = unpack(job)
    assert _held is not None
    function, shared = _held
    return function(shared, unpack(task))
