"""Workers that are forked from a process which has imported what they need.

To import torch takes seconds, longer than many a task. So there is one process that imports the
module of the tasks and does nothing else, while this one is still at its own imports; each worker
is a fork of it. It has run nothing: the threads that it has by then are an allocator's, which
expects forks, and no lock is held, as one could be here. Where forks are not safe at all (macOS,
Windows), each worker imports for itself.

The fork server of `multiprocessing` would run the user's script once more in each worker, and leave
a folder behind when it is killed.
"""

import contextlib
import gc
import importlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import recv_handle, send_handle

from memo.execution.worker import Start, Worker, work

__all__ = ["FORKS", "Nursery"]

FORKS = sys.platform == "linux"
"""Whether forks are safe."""

ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}
"""No threads of BLAS before the fork; and glibc keeps memory for the next tensors, rather than give
it back: measured on the digits' scoring, a seventh of the page faults and 6 of 43 CPU seconds."""

PATIENCE = 0.5
"""Seconds for an orderly end."""


class Nursery:
    """The process that workers are forked from. It ends when nothing refers to it any more.

    Args:
        module: What it imports.
    """

    def __init__(self, module: str) -> None:
        ours, theirs = socket.socketpair()
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            f"from memo.execution.nursery import tend; tend({theirs.fileno()}, {module!r})"
        )
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **ENVIRONMENT},
                process_group=0,  # this process decides when work ends, not the terminal
            )
        self._control = Connection(ours.detach())
        weakref.finalize(self, _end, self._control, self._process)

    def worker(self, environment: Mapping[str, str], job: bytes) -> Worker:
        """A new one.

        Args:
            environment: Variables that it has beside this process's.
            job: See `Worker`.
        """
        ours, theirs = socket.socketpair()
        connection = Connection(ours.detach())
        try:
            with theirs:
                self._control.send(Start.here(environment))
                send_handle(self._control, theirs.fileno(), self._process.pid)
            pid: int | None = self._control.recv()
        except (EOFError, OSError):
            pid = None  # the nursery has died, and this worker with it
        return Worker(connection, _Forked(pid, self), job)

    @property
    def lives(self) -> bool:
        """Whether there is a process to fork."""
        return self._process.poll() is None

    def exit_code(self, pid: int | None) -> int:
        """Of a worker that ends, or of the nursery if it took the worker with it."""
        try:
            self._control.send(pid)
            code: int = self._control.recv()
        except (EOFError, OSError):
            return self._process.wait()
        return code


class _Forked:
    def __init__(self, pid: int | None, nursery: Nursery) -> None:
        self._pid = pid
        self._nursery = nursery

    def kill(self) -> None:
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def exit_code(self) -> int:
        return self._nursery.exit_code(self._pid)


def tend(descriptor: int, module: str) -> None:
    """What the nursery runs: start workers, and say how they ended, until nobody asks any more.

    Args:
        descriptor: Of its end of a pair of sockets.
        module: What it imports.
    """
    control = Connection(descriptor)
    gc.disable()  # what is imported stays, and looks for cycles would touch what forks share
    with contextlib.suppress(ImportError):  # the worker that needs it will say so
        importlib.import_module(module)
    gc.freeze()
    children: dict[int, BaseProcess] = {}
    while True:
        try:
            request = control.recv()
        except (EOFError, OSError):
            break
        if isinstance(request, Start):
            child = _forked(control, recv_handle(control), request)
            children[child.pid or 0] = child
            control.send(child.pid)
        else:
            child = children.pop(request)
            child.join()
            control.send(child.exitcode)
    for child in children.values():
        child.kill()
        child.join()  # so that its time counts as this process's
    os._exit(0)  # to take down what was imported takes a quarter of a second, for which some wait


def _forked(control: Connection, descriptor: int, start: Start) -> BaseProcess:
    connection = Connection(descriptor)
    child = multiprocessing.get_context("fork").Process(
        target=_work, args=(control, connection, start)
    )
    child.start()
    connection.close()
    return child


def _work(control: Connection, connection: Connection, start: Start) -> None:
    gc.enable()
    control.close()  # else the nursery's end would not be seen where it was held
    work(connection, start)


def _end(control: Connection, process: "subprocess.Popen[bytes]") -> None:
    control.close()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:  # it is still at its imports
        process.kill()
        process.wait()
