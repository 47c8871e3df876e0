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
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any, TypeAlias

from loky import ProcessPoolExecutor
from loky.process_executor import TerminatedWorkerError

from memo.execution.payload import Payload, pack, run_packed
from memo.execution.protocol import Function, Names, Results, WorkerDiedError, stream

Handle: TypeAlias = "Future[Any]"

ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "LOKY_MAX_MEMORY_LEAK_SIZE": str(1 << 60)}
"""One thread of BLAS for each worker, as there is a worker for each core; and no restart of a
worker that has grown by 300 MB, which loky takes for a leak and which large models need."""

PARENT_INTERVAL = 1.0
"""Seconds between a worker's looks at whether its parent lives."""

INTERRUPT_INTERVAL = 0.1
"""Seconds after which a wait for tasks lets an interrupt through: once Polars is imported, which
handles SIGINT with SA_RESTART, Ctrl-C does not end a wait for a lock."""


class InProcess:
    """One task after another, in this process."""

    def run(
        self, function: Function, shared: Any, tasks: Sequence[Any], names: Names = None
    ) -> Results[Any]:
        """See `Executor.run`."""
        for position in range(len(tasks)):
            yield position, function(shared, tasks[position])


@dataclass(frozen=True)
class Processes:
    """Worker processes on this machine.

    One that dies takes only its own task with it, and the one that replaces it computes on the
    same GPU.

    Args:
        workers: Number of processes.
        gpus: GPUs by their names in CUDA_VISIBLE_DEVICES; each worker sees one, dealt in turn.
    """

    workers: int
    gpus: Sequence[str] = ()

    def run(
        self, function: Function, shared: Any, tasks: Sequence[Any], names: Names = None
    ) -> Results[Any]:
        """See `Executor.run`."""
        gpus = [gpu_of(rank, self.gpus) for rank in range(min(self.workers, len(tasks)))]
        return stream(_Pool(pack((function, shared)), gpus), tasks, names)


def gpu_of(worker: int, gpus: Sequence[str]) -> str | None:
    """Return the GPU of a worker: they are dealt in turn; None where there are none."""
    return gpus[worker % len(gpus)] if gpus else None


class _Pool:
    """Worker processes by their ranks, each started for its first task and after its death.

    Args:
        job: A packed function and what its tasks share; each worker gets it with its first task.
        gpus: For each worker the GPU that it sees; None for all.
    """

    def __init__(self, job: Payload, gpus: Sequence[str | None]) -> None:
        self._job = job
        self._gpus = gpus
        self._executors: dict[int, ProcessPoolExecutor] = {}
        self._free = deque(range(len(gpus)))
        self._busy: dict[Handle, int] = {}

    def room(self) -> int:
        return len(self._gpus)

    def start(self, task: Any, name: str) -> Handle:
        rank, payload = self._free.popleft(), pack(task)
        resource_tracker.ensure_running()  # whose first start unblocks interrupts
        with _blocked_interrupts():
            job = None if rank in self._executors else self._job
            if job is not None:
                self._executors[rank] = _executor(self._gpus[rank])
            handle: Handle = self._executors[rank].submit(run_packed, job, payload)
        self._busy[handle] = rank
        return handle

    def wait(self, running: Sequence[Handle]) -> Iterable[Handle]:
        while True:
            done = wait(running, INTERRUPT_INTERVAL, FIRST_COMPLETED).done
            if done:
                return done

    def result(self, handle: Handle, name: str) -> Any:
        rank = self._busy.pop(handle)
        self._free.append(rank)
        try:
            return handle.result()
        except TerminatedWorkerError as error:
            self._executors.pop(rank).shutdown(wait=False)
            raise WorkerDiedError(_exit_code(error)) from None

    def end(self, running: Iterable[Handle]) -> None:
        for executor in self._executors.values():
            executor.shutdown(wait=False, kill_workers=True)


def _executor(gpu: str | None) -> ProcessPoolExecutor:
    """Make an executor of one worker, which sees one GPU, or all."""
    return ProcessPoolExecutor(
        1,
        initializer=_watch_parent,
        initargs=(os.getpid(),),
        env=ENVIRONMENT | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}),
    )


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
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_INTERVAL)
    os.kill(os.getpid(), signal.SIGKILL)
