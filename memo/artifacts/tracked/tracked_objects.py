"""Objects that DVC tracks, from its cache or a remote: taken once they have the recorded MD5.

DVC takes what a remote sends at its word, and writes it under names that the remote's lists give.
Here each name is seen to be an MD5 before it becomes a path, and each content to have that MD5
before it is put in the cache.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from memo.artifacts.files import ArtifactError
from memo.artifacts.tracked.listing import DIRECTORY, ListingError, is_md5, parse_listing
from memo.errors import InputError, MemoError

if TYPE_CHECKING:
    from dvc.repo import Repo

LONGEST_LISTING = 256 << 20
"""Bytes of a folder's list, which no record of its size bounds: a million files have a third."""

CHUNK = 1 << 20


class ForgedError(ArtifactError):
    """A content is not what git records of it: damaged on the way, or put there by somebody."""


@dataclass(frozen=True)
class Output:
    """A file or folder that DVC tracks.

    Args:
        path: Where it lies, from the root of DVC's repository, with slashes.
        oid: MD5 of its content; of a folder, that of its list.
        is_folder: True where that is a list of files.
        size: Bytes that were recorded, of a folder those of all its files; None if none were.
        remote: The remote that is its own; None for the one of the project.
    """

    path: str
    oid: str
    is_folder: bool
    size: int | None
    remote: str | None


@contextmanager
def repository_at(root: Path, revision: str | None = None) -> Iterator["Repo"]:
    """Open DVC's repository that a folder lies in, as it is or at a git revision.

    Raises:
        InputError: It is no repository, or the revision is unknown.
    """
    from dvc.repo import Repo  # noqa: PLC0415 -- takes a second, needed here alone
    from dvc.repo.brancher import switch  # noqa: PLC0415

    if revision is not None and not revision.strip():
        raise InputError("the name of a git revision is empty")
    with ExitStack() as stack:
        with dvc_errors(str(root)):
            repository = stack.enter_context(Repo(str(root)))
            if revision is not None:
                stack.enter_context(switch(repository, revision))
        yield repository


@contextmanager
def dvc_errors(where: str) -> Iterator[None]:
    """Turn errors of DVC's into one line that names where they came up.

    Raises:
        InputError: The body raised one.
    """
    from dvc.exceptions import DvcException  # noqa: PLC0415
    from dvc_data.index import DataIndexError  # noqa: PLC0415
    from dvc_objects.errors import ObjectDBError  # noqa: PLC0415

    try:
        yield
    except (DvcException, DataIndexError, ObjectDBError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{where}: {reason}") from error


def outputs(repository: "Repo") -> tuple[list[Output], list[str]]:
    """List what DVC tracks, and why the rest of it cannot be taken from a remote.

    Raises:
        ForgedError: The hash that is recorded of an output is none.
    """
    found, left = [], []
    with dvc_errors("dvc.yaml"):
        tracked = list(repository.index.outs)
    for out in tracked:
        if not out.use_cache:
            continue
        if out.stage.is_repo_import:
            left.append(f"{out}: is imported from another repository; run: dvc update")
        elif not out.is_in_repo:
            left.append(f"{out}: lies outside of the repository")
        elif not out.hash_info:
            left.append(f"{out}: was not made yet; run: dvc repro")
        elif out.hash_info.name != "md5" or out.files:
            left.append(f"{out}: is not tracked by its MD5; run: dvc cache migrate, or dvc commit")
        else:
            found.append(_output(repository, out))
    return found, left


def _output(repository: "Repo", out: Any) -> Output:
    path = out.fs.relpath(out.fs_path, repository.root_dir).replace(os.sep, "/")
    oid, is_folder = str(out.hash_info.value), bool(out.hash_info.isdir)
    if not is_md5(oid.removesuffix(DIRECTORY)):
        raise ForgedError(f"{path}: is recorded with {oid!a:.80}, which is no MD5")
    return Output(path, oid, is_folder, out.meta.size, out.remote)


class TrackedObjects:
    """Contents that DVC tracks: those in its cache that hold, and those of a remote.

    Args:
        repository: DVC's repository.
        remote: Name of the remote to take from; None for the project's own.
    """

    def __init__(self, repository: "Repo", remote: str | None = None) -> None:
        self._repository = repository
        self._remote = remote
        self._listings: dict[str, dict[str, str]] = {}
        self.fetched = 0
        """Objects that were taken from a remote."""

    def listing(self, output: Output) -> dict[str, str]:
        """Read which files a folder has: the MD5 of each by its path within the folder.

        Raises:
            ArtifactError: The list is not to be had, not what was recorded, or leads elsewhere.
        """
        if output.oid not in self._listings:
            content = self.path(output, output.oid, LONGEST_LISTING).read_bytes()
            try:
                self._listings[output.oid] = parse_listing(content)
            except ListingError as error:
                raise ForgedError(f"{output.path}: the list of its files {error}") from None
        return self._listings[output.oid]

    def content(self, output: Output, oid: str) -> bytes:
        """Read a content, of an output itself or of one of its files.

        Raises:
            ArtifactError: It is not to be had, or not what was recorded.
        """
        return self.path(output, oid, output.size).read_bytes()

    def path(self, output: Output, oid: str, limit: int | None) -> Path:
        """Find the file in the cache that has a content, once it is seen to have it.

        Args:
            output: What it is, or is a file of.
            oid: Its MD5.
            limit: Bytes that it may have; None for any number.

        Raises:
            ForgedError: A remote has another content under that name.
            ArtifactError: It is in neither cache nor remote, or a disk refuses.
        """
        cached = Path(self._cache.oid_to_path(oid))
        if object_problem(cached, oid) is None:
            return cached
        remove_object(cached)
        self._fetch(output, oid, limit)
        problem = object_problem(cached, oid)
        if problem is not None:
            raise ArtifactError(f"{cached}: {problem}")
        return cached

    @property
    def _cache(self) -> Any:
        return self._repository.cache.local

    def _fetch(self, output: Output, oid: str, limit: int | None) -> None:
        """Put a remote's content in the cache, once it is seen to be what its name says."""
        name = output.remote or self._remote
        with _remote_errors(f"{output.path}: cannot be fetched"):
            remote = self._repository.cloud.get_remote(name, command="pull")
            source = remote.odb.oid_to_path(oid)
        called = f"{output.path}: object {oid} on remote {remote.name!r}"
        scratch = Path(self._repository.tmp_dir)
        with TemporaryDirectory(dir=scratch, prefix="memo-") as folder, _remote_errors(called):
            copy = Path(folder) / "object"
            if remote.fs.protocol == "local":
                _require_plain(Path(source), Path(remote.path), called)
            found = _copied(remote.fs, source, copy, limit)
            if found is None:
                raise ForgedError(f"{called}: is larger than the {limit:,} bytes that git records")
            if found != oid.removesuffix(DIRECTORY):
                raise ForgedError(
                    f"{called}: is not what git records: its MD5 is {found}; it is not taken"
                )
            self._cache.makedirs(str(Path(self._cache.oid_to_path(oid)).parent))
            self._cache.add(str(copy), self._cache.fs, oid)
        self.fetched += 1


def object_problem(file: Path, oid: str) -> str | None:
    """Find a reason why a file in DVC's cache is not the content of that MD5; None for a good one.

    Raises:
        ArtifactError: It cannot be read.
    """
    try:
        for path in (file, file.parent):
            if path.is_symlink():
                return "is a link"
        if not file.exists():
            return "is missing"
        if not file.is_file():
            return "is no file"
        with file.open("rb") as content:
            found = hashlib.file_digest(content, _md5)
    except OSError as error:
        raise ArtifactError(f"{file}: cannot be read: {error.strerror or error}") from error
    return None if found.hexdigest() == oid.removesuffix(DIRECTORY) else "is not what its name says"


def remove_object(file: Path) -> None:
    """Remove a file from DVC's cache; or, where it lies behind a link, that link.

    Raises:
        ArtifactError: It cannot be removed.
    """
    if file.parent.is_symlink():
        remove_file(file.parent)
    elif file.is_symlink() or file.exists():
        remove_file(file)


def remove_file(file: Path) -> None:
    """Remove a file or a link.

    Raises:
        ArtifactError: It cannot be removed.
    """
    try:
        file.unlink()
    except OSError as error:
        raise ArtifactError(f"{file}: cannot be removed: {error.strerror or error}") from error


def _copied(files: Any, source: str, copy: Path, limit: int | None) -> str | None:
    """Copy a remote's file while its MD5 is taken; None where it is too large."""
    digest, size = _md5(), 0
    with files.open(source, "rb") as sent, copy.open("wb") as kept:
        while chunk := sent.read(CHUNK):
            size += len(chunk)
            if limit is not None and size > limit:
                return None
            digest.update(chunk)
            kept.write(chunk)
    return str(digest.hexdigest())


def _require_plain(file: Path, root: Path, called: str) -> None:
    """See that a file below a remote's folder is one, and no link on the way to it."""
    below = file.relative_to(root).parts
    for depth in range(1, len(below) + 1):
        path = root.joinpath(*below[:depth])
        if path.is_symlink():
            raise ForgedError(f"{called}: {path} is a link")
    if not stat.S_ISREG(file.stat().st_mode):
        raise ForgedError(f"{called}: is no file")


@contextmanager
def _remote_errors(called: str) -> Iterator[None]:
    """Turn errors of a remote's library into one line; each kind of remote has errors of its own.

    Raises:
        ArtifactError: The body has looked for a file that is not there.
        InputError: It raised anything else but an error of memo's.
    """
    try:
        yield
    except MemoError:
        raise
    except FileNotFoundError as error:
        message = f"{called}: is not there; have whoever made it run: dvc push"
        raise ArtifactError(message) from error
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{called}: {reason}") from error


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
