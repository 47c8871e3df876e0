"""Tables are decoded on trial, in a process of their own with little memory, before they are here.

A crafted Parquet file can make the decoder abort its process, or take memory without bounds: some
kilobytes say that a billion zeros follow. What comes from a shared remote may be such a file.
"""

import atexit
import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Lock

LENGTH_BYTES = 8
"""A table's length stands before it, little-endian."""

ENVIRONMENT = {
    "POLARS_MAX_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "_RJEM_MALLOC_CONF": "narenas:1,background_thread:false",
}
"""One thread that decodes, and one arena for each of the two allocators. Each thread's own would
set aside a hundred megabytes of addresses that nobody uses, and the limit on memory is one on
addresses: whether a whole table was decoded would depend on which thread was first."""


def problem_on_trial(content: bytes) -> str | None:
    """Find a reason not to decode a Parquet file in this process; None where there is none."""
    with _only:
        return _trials.problem(content)


class _Trials:
    """A process that decodes one table after another, and is replaced when one ends it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def problem(self, content: bytes) -> str | None:
        """See `problem_on_trial`."""
        while True:
            used = self._process is not None
            try:
                answer = self._answer(content)
            except OSError:
                answer = b""
            except BaseException:  # an interrupt must not leave an answer for the next question
                self.end()
                raise
            if answer.endswith(b"\n"):
                problem: str | None = json.loads(answer)
                return problem
            self.end()
            if not used:  # one that waited may have been killed meanwhile; a new one was not
                break
        return "the decoder breaks on it, or needs far more memory than a table of its size"

    def _answer(self, content: bytes) -> bytes:
        if self._process is None:
            self._process = _start()
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(len(content).to_bytes(LENGTH_BYTES, "little"))
        stdin.write(content)
        stdin.flush()
        return stdout.readline()

    def end(self) -> None:
        """Leave no process behind."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", str(Path(__file__).with_name("decoder.py"))],
        stdin=subprocess.PIPE,  # its end is the process's end, too
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what a panic prints would look like memo's own error
        env={**os.environ, **ENVIRONMENT},
    )


_trials = _Trials()
_only = Lock()
atexit.register(_trials.end)
