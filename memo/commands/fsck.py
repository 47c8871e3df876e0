"""fsck: DVC's cache -> what in it is not what its name says, removed."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from memo.artifacts.files import ArtifactError
from memo.errors import InputError
from memo.pipeline.progress import progress

DIRECTORY = ".dir"
"""Ending of what DVC keeps of a folder: hashes of its files, and their paths within it."""


@dataclass(frozen=True)
class Checked:
    """Number of files in the cache, and those that were removed."""

    files: int
    removed: list[str]


def fsck(root: Path) -> Checked:
    """Compare each file of DVC's cache with its name, the MD5 of its content; remove what differs.

    DVC takes a cached file at its word, and a fetched one, too: a bit that a disk has lost, or
    what somebody who can write to the remote has put in a file's place, goes into the project. A
    folder's list of paths may even lead out of it. DVC fetches or makes anew what is removed.

    Args:
        root: The project's folder.

    Raises:
        InputError: It is no project of DVC's.
        ArtifactError: A file cannot be read or removed.
    """
    files = sorted(_cache(root).glob("[0-9a-f][0-9a-f]/*"))
    removed = []
    with progress("files checked", len(files)) as advance:
        for file in files:
            problem = _problem(file)
            if problem is not None:
                _remove(file)
                removed.append(f"{file}: {problem}")
            advance(1)
    return Checked(len(files), removed)


def _cache(root: Path) -> Path:
    from dvc.exceptions import DvcException  # noqa: PLC0415 -- takes a second, needed here alone
    from dvc.repo import Repo  # noqa: PLC0415

    try:
        with Repo(str(root)) as repository:
            return Path(repository.cache.local.path)
    except DvcException as error:
        raise InputError(f"{root}: {error}") from None


def _problem(file: Path) -> str | None:
    try:
        with file.open("rb") as content:
            found = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False))
        if found.hexdigest() != file.parent.name + file.name.removesuffix(DIRECTORY):
            return "is not what its name says"
        if file.suffix == DIRECTORY and not all(map(_stays_inside, _paths(file))):
            return "leads out of its folder"
    except OSError as error:
        raise ArtifactError(f"{file}: cannot be read: {error.strerror or error}") from error
    return None


def _paths(file: Path) -> Iterator[str]:
    try:
        yield from (str(entry["relpath"]) for entry in json.loads(file.read_bytes()))
    except (ValueError, LookupError, TypeError, RecursionError):
        yield ".."  # no list of paths


def _stays_inside(path: str) -> bool:
    return not any(
        kind(path).is_absolute() or ".." in kind(path).parts or kind(path).drive
        for kind in (PurePosixPath, PureWindowsPath)
    )


def _remove(file: Path) -> None:
    try:
        file.unlink()
    except OSError as error:
        raise ArtifactError(f"{file}: cannot be removed: {error.strerror or error}") from error
