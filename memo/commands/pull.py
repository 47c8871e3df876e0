"""pull: what git records of the project -> its files, from a remote that is not trusted."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memo.artifacts.files import ArtifactError
from memo.artifacts.tracked.tracked_objects import (
    Output,
    TrackedObjects,
    dvc_errors,
    outputs,
    repository_at,
)
from memo.errors import WorkError
from memo.pipeline.progress import progress

if TYPE_CHECKING:
    from dvc.repo import Repo


@dataclass(frozen=True)
class Pulled:
    """Files that lie in the project now as git records them, and what is not among them."""

    files: int
    fetched: int
    """Objects that were taken from a remote; the others were in the cache."""
    left: list[str]


class PullError(WorkError):
    """Files could not be had as git records them; nothing was put into the project."""

    def __init__(self, problems: list[str], files: int) -> None:
        super().__init__(
            f"{len(problems)} of {files} files and lists of files cannot be had as git records "
            "them; nothing is changed in the project"
        )
        self.problems = problems


def pull(root: Path, remote: str | None = None) -> Pulled:
    """Take the project's files from a remote that others may write to, each once it is checked.

    Lists of folders come first. Nothing is put into the cache whose MD5 is not the one that git
    records, and nothing into the project unless all of it is in the cache.

    Args:
        root: The project's folder.
        remote: Name of the remote; None for the project's own.

    Raises:
        InputError: It is no project of DVC's, or has no such remote.
        PullError: Files are missing, or are not what git records of them.
        WorkError: DVC cannot put them into the project.
    """
    with repository_at(root) as repository:
        found, left = outputs(repository)
        objects = TrackedObjects(repository, remote)
        files, problems = _listed(objects, found)
        if not problems:
            with progress("files checked", len(files)) as advance:
                for output, oid in files.items():
                    problems += _problems(objects, *output, oid)
                    advance(1)
        if problems:
            raise PullError(problems, len(files) + len(problems))
        _check_out(repository)
        return Pulled(len(files), objects.fetched, left)


def _listed(
    objects: TrackedObjects, found: list[Output]
) -> tuple[dict[tuple[Output, str], str], list[str]]:
    """The MD5 of each file by its output and its path within it; and why lists cannot be had."""
    files: dict[tuple[Output, str], str] = {}
    problems = []
    for output in found:
        if not output.is_folder:
            files[output, ""] = output.oid
            continue
        try:
            listed = objects.listing(output)
        except ArtifactError as error:
            problems.append(str(error))
        else:
            files |= {(output, path): oid for path, oid in listed.items()}
    return files, problems


def _problems(objects: TrackedObjects, output: Output, path: str, oid: str) -> Iterator[str]:
    try:
        objects.path(output, oid, output.size)
    except ArtifactError as error:
        yield f"{error}" if not path else f"{error} (file {path!a:.80})"


def _check_out(repository: "Repo") -> None:
    """Have DVC put into the project what is in its cache."""
    from dvc.exceptions import DvcException  # noqa: PLC0415 -- takes a second, needed here alone

    with dvc_errors("what DVC remembers of lists"):
        repository.drop_data_index()
    try:
        repository.checkout()
    except DvcException as error:
        reason = " ".join(str(error).replace("Use `--force` to force.", "").split())
        raise WorkError(
            f"dvc checkout: {reason} (all is in the cache; move what is in the way, and run memo "
            "pull again)"
        ) from error
