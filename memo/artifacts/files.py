"""Files that are written whole or not at all."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from memo.errors import WorkError


class ArtifactError(WorkError):
    """A file is missing, damaged, or not what its name says; the message names it."""


def write_whole(file: Path, content: bytes) -> None:
    """Write under a temporary name, fsync, rename: a reader sees the whole file or none.


    Raises:
        ArtifactError: The folder or the disk refuses; nothing is left behind.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(
            dir=file.parent, prefix=f".{file.name}.", suffix=".tmp", delete=False
        ) as temporary:
            try:
                temporary.write(content)
                temporary.flush()
                os.fsync(temporary.fileno())
                Path(temporary.name).chmod(0o644)
                Path(temporary.name).replace(file)
            except BaseException:
                Path(temporary.name).unlink(missing_ok=True)
                raise
        _sync_folder(file.parent)
    except OSError as error:
        raise ArtifactError(f"{file}: cannot be written: {error.strerror or error}") from error


def make_folder(folder: Path) -> None:
    """Make a folder, unless it is there.

    Raises:
        ArtifactError: The disk refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"{folder}: cannot be made: {error.strerror or error}") from error


def remove_leftovers(file: Path) -> None:
    """Delete the temporary files that killed writers of a file left beside it."""
    for leftover in file.parent.glob(f".{file.name}.*.tmp"):
        leftover.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
