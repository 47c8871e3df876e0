"""One process at a time: a lock that ends with whoever holds it, however that one ends."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from memo.artifacts.files import ArtifactError, make_folder
from memo.errors import WorkError, printable

ATTEMPTS = 0.3
"""Seconds in which a lock that a killed process has left is seen to be none, and taken."""


@contextmanager
def locked(file: Path, doing: str) -> Iterator[None]:
    """Hold a lock while something is done; a file beside it says who does it.

    The operating system releases it when the process ends, so that none is ever stale. Where it
    cannot lock files, the lock is a file that names its process, and counts while that one lives;
    only one that a process on another machine has left must be deleted by hand.

    Args:
        file: The lock's file. It stays; only whether it is locked counts.
        doing: What is done, for whoever comes second.

    Raises:
        WorkError: Another process holds it; the message says which one.
        ArtifactError: The disk refuses.
    """
    make_folder(file.parent)
    lock = FileLock(file, timeout=ATTEMPTS)
    try:
        lock.acquire()
    except Timeout:
        raise WorkError(f"{doing}: must wait for {_holder(file)}") from None
    except OSError as error:
        raise _refused(file, error) from error
    try:
        _sign(file, doing)
        yield
    finally:
        lock.release()


def _sign(file: Path, doing: str) -> None:
    since = datetime.now().isoformat(" ", "seconds")
    words = f"{doing} (process {os.getpid()} on {socket.gethostname()}, since {since})"
    try:
        _note(file).write_text(printable(words), encoding="utf-8")
    except OSError as error:
        raise _refused(file, error) from error


def _holder(file: Path) -> str:
    try:
        words = _note(file).read_text(encoding="utf-8") or "another process"
    except (OSError, UnicodeDecodeError):
        words = "another process"
    return f"{words}; if there is no such process, delete {file}"


def _note(file: Path) -> Path:
    """The file that says who holds a lock: the lock's own may be filelock's to write."""
    return file.with_suffix(".txt")


def _refused(file: Path, error: OSError) -> ArtifactError:
    return ArtifactError(f"{file}: cannot be locked: {error.strerror or error}")
