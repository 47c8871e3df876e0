"""fsck: DVC's cache -> what in it is not what its name says, removed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from memo.artifacts.files import ArtifactError
from memo.artifacts.tracked.listing import DIRECTORY, ListingError, is_md5, parse_listing
from memo.artifacts.tracked.tracked_objects import (
    dvc_errors,
    object_problem,
    remove_file,
    repository_at,
)
from memo.pipeline.progress import progress


@dataclass(frozen=True)
class Checked:
    """Number of files in the cache, those that were removed, and those that could not be."""

    files: int
    removed: list[str]
    unchecked: list[str]


def fsck(root: Path) -> Checked:
    """Compare each file of DVC's cache with its name, the MD5 of its content; remove what differs.

    DVC takes a cached file at its word, and a fetched one, too: a bit that a disk has lost, or
    what somebody who can write to the remote has put in a file's place, goes into the project. A
    folder's list may even lead out of it, and DVC remembers lists beside its cache: that memory is
    dropped. DVC fetches or makes anew what is removed.

    Args:
        root: The project's folder.

    Raises:
        InputError: It is no project of DVC's.
    """
    with repository_at(root) as repository:
        files = list(_cached(Path(repository.cache.local.path)))
        removed, unchecked = [], []
        with progress("files checked", len(files)) as advance:
            for file in files:
                try:
                    problem = _problem(file)
                    if problem is not None:
                        remove_file(file)
                        removed.append(f"{file}: {problem}")
                except ArtifactError as error:
                    unchecked.append(str(error))
                advance(1)
        with dvc_errors("what DVC remembers of lists"):
            repository.drop_data_index()
    return Checked(len(files), removed, unchecked)


def _cached(cache: Path) -> Iterator[Path]:
    """The files of a cache, and links in place of the folders that have them."""
    for folder in sorted(cache.glob("[0-9a-f][0-9a-f]")):
        if folder.is_symlink() or not folder.is_dir():
            yield folder
        else:
            yield from sorted(folder.iterdir())


def _problem(file: Path) -> str | None:
    oid = file.parent.name + file.name
    if file.is_symlink():
        return "is a link"
    if not is_md5(oid.removesuffix(DIRECTORY)):
        return "has a name that is no MD5"
    problem = object_problem(file, oid)
    if problem is not None or not oid.endswith(DIRECTORY):
        return problem
    try:
        parse_listing(file.read_bytes())
    except ListingError as error:
        return str(error)
    except OSError as error:
        raise ArtifactError(f"{file}: cannot be read: {error.strerror or error}") from error
    return None
