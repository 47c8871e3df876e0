"""A worker process: what it does, and how this process speaks with it."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Protocol

import cloudpickle

__all__ = ["Start", "Worker", "WorkerDiedError", "packed", "spawned", "work"]

PARENT_INTERVAL = 1.0
"""Seconds between a worker's looks at whether its parent lives."""


class WorkerDiedError(Exception):
    """A worker ended without an answer; the message says how."""


class Process(Protocol):
    """What a worker runs in."""

    def kill(self) -> None: ...

    def exit_code(self) -> int:
        """Waits for its end; negative for a signal."""
        ...


class Worker:
    """A process that answers one task after another.

    Args:
        connection: To it.
        process: It.
        job: A function of what is shared and a task, and what is shared; `packed`.
    """

    def __init__(self, connection: Connection, process: Process, job: bytes) -> None:
        self.connection = connection
        self._process = process
        self.give(job)

    def give(self, task: bytes) -> None:
        """A `packed` task; the worker must be free."""
        with contextlib.suppress(OSError):  # of one that has died, as its answer will say
            self.connection.send_bytes(task)

    def answer(self) -> Any:
        """What became of the task; waits for it.

        Raises:
            WorkerDiedError: The worker did.
            Exception: What the function raised.
        """
        try:
            succeeded, result = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            raise WorkerDiedError(_in_words(self._process.exit_code())) from None
        if not succeeded:
            raise result
        return result

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self.connection.close()


class Start(NamedTuple):
    """What a worker has of the process that it works for."""

    environment: dict[str, str]
    """Variables that are its own."""

    path: list[str]
    """`sys.path`, by which it finds what tasks import."""

    folder: str
    """The working directory."""

    @classmethod
    def here(cls, environment: Mapping[str, str]) -> "Start":
        """What a worker of this process has."""
        return cls(dict(environment), list(sys.path), os.getcwd())  # noqa: PTH109 -- a str


def spawned(environment: Mapping[str, str], job: bytes) -> Worker:
    """A worker that begins with nothing imported.

    Args:
        environment: Variables that it has beside this process's.
        job: See `Worker`.
    """
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=work, args=(theirs, Start.here(environment)), daemon=True
    )
    process.start()
    theirs.close()
    return Worker(ours, _Spawned(process), job)


class _Spawned:
    def __init__(self, process: "multiprocessing.process.BaseProcess") -> None:
        self._process = process

    def kill(self) -> None:
        self._process.kill()

    def exit_code(self) -> int:
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode


def packed(thing: Any) -> bytes:
    """As bytes, with the code of what no module holds, as in a notebook."""
    content: bytes = cloudpickle.dumps(thing, protocol=pickle.HIGHEST_PROTOCOL)
    return content


def work(connection: Connection, start: Start) -> None:
    """What a worker runs: first comes a job, then one task after another."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when work ends
    os.environ.update(start.environment)
    sys.path[:] = start.path
    os.chdir(start.folder)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # of a parent that asks no more
        job = _Job(connection.recv_bytes())
        while True:
            connection.send_bytes(job.answer(connection.recv_bytes()))


class _Job:
    def __init__(self, content: bytes) -> None:
        self._content: bytes | None = content
        self._function: Any = None
        self._shared: Any = None

    def answer(self, task: bytes) -> bytes:
        """(True, the result) or (False, what was raised), packed."""
        try:
            if self._content is not None:
                self._function, self._shared = pickle.loads(self._content)
                self._content = None
            return packed((True, self._function(self._shared, pickle.loads(task))))
        except Exception as error:
            error.add_note("".join(traceback.format_exception(error)))  # pickles leave it out
            return packed((False, error))


def _end_with_parent(parent: int) -> None:
    """A parent that was killed cannot tell its workers, which would wait for it for ever."""
    while os.getppid() == parent:
        time.sleep(PARENT_INTERVAL)
    os._exit(1)


def _in_words(code: int) -> str:
    return f"exit code {signal.Signals(-code).name if code < 0 else code}"
