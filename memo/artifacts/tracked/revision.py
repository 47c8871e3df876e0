"""A project's files as they were tracked at another git revision: what git recorded, and no other.

git records the MD5 of each file and folder in dvc.lock. Content comes from DVC's cache or a remote,
to which others may write, and is taken only where it has that MD5.
"""

from contextlib import ExitStack
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from memo.artifacts.tracked.tracked_objects import (
    Output,
    TrackedObjects,
    outputs,
    repository_at,
)
from memo.errors import InputError

if TYPE_CHECKING:
    from dvc.repo import Repo


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
            ArtifactError: The list of the folder's files is not what the revision recorded.
        """
        at = self._at(folder)
        known = self._outputs.get(at)
        if known is not None and known.is_folder:
            return sorted(path for path in self._objects.listing(known) if "/" not in path)
        tracked = (PurePosixPath(path) for path in self._outputs)
        return sorted(path.name for path in tracked if path.parent == PurePosixPath(at))

    def read(self, file: Path) -> bytes:
        """A file's content.

        Raises:
            InputError: The revision or its file cannot be had.
            ArtifactError: The content is not what the revision recorded.
        """
        at = self._at(file)
        known, path = self._covering(at)
        if not path:
            return self._objects.content(known, known.oid)
        oid = self._objects.listing(known).get(path)
        if oid is None:
            raise self._without(at)
        return self._objects.content(known, oid)

    @cached_property
    def _outputs(self) -> dict[str, Output]:
        """Outputs that DVC tracked, by their paths."""
        with repository_at(self._root, self.name) as repository:
            return {output.path: output for output in outputs(repository)[0]}

    @cached_property
    def _objects(self) -> TrackedObjects:
        """Contents in the cache, and on the remotes that are configured here and now."""
        return TrackedObjects(self._repository)

    @cached_property
    def _repository(self) -> "Repo":
        return ExitStack().enter_context(  # open as long as the revision is in use
            repository_at(self._root)
        )

    def _at(self, path: Path) -> str:
        """The path from the root of DVC's repository, which may lie above the project's."""
        root = Path(self._repository.root_dir).resolve()
        return path.resolve().relative_to(root).as_posix()

    def _covering(self, at: str) -> tuple[Output, str]:
        """The output that a path is, or lies in; and the path within it, "" for itself."""
        for parent in (PurePosixPath(at), *PurePosixPath(at).parents):
            known = self._outputs.get(parent.as_posix())
            if known is not None:
                below = PurePosixPath(at).relative_to(parent).as_posix()
                return known, "" if below == "." else below
        raise self._without(at)

    def _without(self, at: str) -> InputError:
        return InputError(
            f"{at} at revision {self.name!r}: DVC tracked no such file, or not by its MD5"
        )
