"""One process at a time: a lock that ends with whoever holds it, however that one ends."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from memo.artifacts.files import ArtifactError, make_folder
from memo.errors import WorkError


@contextmanager
def locked(file: Path, doing: str) -> Iterator[None]:
    """Hold a lock while something is done; the file says who does it.

    The operating system releases it when the process ends, so that none is ever stale.

    Args:
        file: The lock's file. It stays; only whether it is locked counts.
        doing: What is done, for whoever comes second.

    Raises:
        WorkError: Another process holds it; the message says which one.
        ArtifactError: The disk refuses.
    """
    make_folder(file.parent)
    lock = FileLock(file, timeout=0)
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
    try:
        file.write_text(f"{doing} (process {os.getpid()} on {socket.gethostname()}, since {since})")
    except OSError as error:
        raise _refused(file, error) from error


def _holder(file: Path) -> str:
    try:
        return file.read_text() or "another process"
    except (OSError, UnicodeDecodeError):
        return "another process"


def _refused(file: Path, error: OSError) -> ArtifactError:
    return ArtifactError(f"{file}: cannot be locked: {error.strerror or error}")
