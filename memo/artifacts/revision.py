"""A project's files as DVC tracked them at another git revision: from its cache, or its remote."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from memo.errors import InputError

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem


class Revision:
    """Files at a git revision.

    Args:
        root: The project's folder.
        name: Whatever git resolves: a branch, a commit, MERGE_HEAD.
    """

    def __init__(self, root: Path, name: str) -> None:
        self._root = root.resolve()
        self.name = name

    def files(self, folder: Path) -> list[str]:
        """Names of the files in a folder; none where there is no such folder.

        Raises:
            InputError: The revision, or what it lists, cannot be had.
        """
        at = self._at(folder)
        with self._named(at):
            if not self._files.isdir(at):
                return []
            return sorted(Path(name).name for name in self._files.ls(at, detail=False))

    def read(self, file: Path) -> bytes:
        """A file's content.

        Raises:
            InputError: The revision or its file cannot be had.
        """
        at = self._at(file)
        with self._named(at):
            content: bytes = self._files.cat_file(at)
        return content

    @cached_property
    def _files(self) -> "DVCFileSystem":
        from dvc.api import DVCFileSystem  # noqa: PLC0415 -- takes a second, needed here alone

        return DVCFileSystem(str(self._root), rev=self.name)

    def _at(self, path: Path) -> str:
        """The path from the root of DVC's repository, which may lie above the project's."""
        with self._named(str(path)):
            repository = self._files.repo
            root = Path(repository.scm.root_dir) / repository.root_dir.lstrip("/")
        return path.resolve().relative_to(root.resolve()).as_posix()

    @contextmanager
    def _named(self, path: str) -> Iterator[None]:
        from dvc.exceptions import DvcException  # noqa: PLC0415
        from dvc_data.index import DataIndexError  # noqa: PLC0415

        try:
            yield
        except (DvcException, DataIndexError, OSError) as error:
            raise InputError(f"{path} at revision {self.name!r}: {error}") from error
