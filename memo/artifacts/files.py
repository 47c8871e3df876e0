"""Files that are written whole or not at all."""

import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from memo.errors import WorkError


class ArtifactError(WorkError):
    """A file is missing, damaged, or not what its name says; the message names it."""


class MissingError(ArtifactError):
    """There is no such file."""


def write_whole(file: Path, content: bytes) -> None:
    """Write under a temporary name, fsync, rename: a reader sees the whole file or none.

    Who may read it is up to the process's umask, as for any file.

    Raises:
        ArtifactError: The folder or the disk refuses; nothing is left behind.
    """
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(file)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(file.parent)
    except OSError as error:
        raise ArtifactError(f"{file}: cannot be written: {error.strerror or error}") from error


def read_whole(file: Path) -> bytes:
    """Read a file; a pipe or a device, which may never end, is none.

    Raises:
        ArtifactError: It is missing, no file, or cannot be read.
    """
    require_file(file)
    try:
        return file.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{file}: cannot be read: {error.strerror or error}") from error


def require_file(file: Path) -> None:
    """See that there is a file that may be read, and not something else that has its name.

    Raises:
        MissingError: There is nothing of that name.
        ArtifactError: It is no file, or cannot be read.
    """
    try:
        is_file = stat.S_ISREG(file.stat().st_mode)
        if is_file:
            file.open("rb").close()
    except FileNotFoundError:
        raise MissingError(f"{file}: no such file") from None
    except (OSError, ValueError) as error:  # a link to itself, no right to look, a null character
        reason = getattr(error, "strerror", None) or error
        raise ArtifactError(f"{file}: cannot be read: {reason}") from error
    if not is_file:
        raise ArtifactError(f"{file}: is no file")


def make_folder(folder: Path) -> None:
    """Make a folder, unless it is there.

    Raises:
        ArtifactError: The disk refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"{folder}: cannot be made: {error.strerror or error}") from error


def by_reason(files: Mapping[str, Sequence[Path]], ending: str = "") -> Iterator[str]:
    """Say why files are not used, in a sentence for each reason rather than for each file.

    Args:
        files: The files, at least one, for each reason.
        ending: What the name of the first is followed by, as a revision.

    Example:
        >>> list(by_reason({"is damaged": [Path("a"), Path("b"), Path("c")]}))
        ['a and 2 more files: is damaged']
    """
    for reason, (first, *others) in files.items():
        count = len(others)
        more = f" and {count} more file{'s' * (count > 1)}" if others else ""
        yield f"{first}{ending}{more}: {reason}"


def remove_leftovers(path: Path) -> None:
    """Delete the temporary files that killed writers left beside a file, or in a folder.

    Whoever calls it holds the lock under which they are written.

    Raises:
        ArtifactError: The disk refuses.
    """
    try:
        for leftover in [*path.parent.glob(f".{path.name}.*.tmp"), *path.rglob(".*.tmp")]:
            leftover.unlink(missing_ok=True)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be cleared: {error.strerror or error}") from error


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
