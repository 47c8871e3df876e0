"""init: a new project, ready for `dvc repro`."""

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

from memo.artifacts.files import make_folder, write_whole
from memo.commands.expand import expanded_text
from memo.commands.first.dry_run import tried
from memo.commands.first.first_spec import (
    FirstSpec,
    digits_spec,
    image_folder_spec,
    limit_words,
    saying,
    skipping_broken,
    spec_text,
    table_spec,
)
from memo.datasets.prepared import DataError
from memo.datasets.tabular.source_columns import ColumnError
from memo.errors import InputError
from memo.project.reading import spec_schema

KINDS = ("digits", "image-folder", "table")
"""Kinds of data that a new project can have."""

MOST_REFUSED = 50
"""Most columns that are left out because `prepare` refuses them."""

MOST_BROKEN = 0.1
"""Largest share of images that are left out because they cannot be read."""

DVC = (".dvc", ".dvcignore")
DVC_UNTRACKED = b"/config.local\n/tmp\n/cache\n"
"""Patterns that `dvc init` has git leave out of its folder."""


def init(folder: Path, kind: str, source: Path | None) -> FirstSpec:
    """Write a new project's files, params.yaml last, and overwrite none.

    What params.yaml says was tried before: it is read back, and its data set prepared in memory.

    Args:
        folder: The project's folder, made where there is none.
        kind: One of `KINDS`.
        source: The data, for kinds that are read from the user's own files.

    Raises:
        InputError: One of the files exists already, or the data are not of that kind or cannot
            be prepared.
        ArtifactError: A file cannot be written.
    """
    first, text = tried_spec(folder, kind, source)
    files = {
        "dvc.yaml": shipped("dvc.yaml"),
        "expanded.yaml": expanded_text({}).encode(),
        ".gitignore": shipped("gitignore") + _own_data(folder, source),
        "params.schema.json": spec_schema().encode(),
        "params.yaml": text.encode(),
    }
    _require_new(folder, [*DVC, *files])
    make_folder(folder)
    _init_dvc(folder)
    for name, content in files.items():
        write_whole(folder / name, content)
    return replace(first, said=(*first.said, *limit_words(first), *_git_words(folder, source)))


def _git_words(folder: Path, source: Path | None) -> Iterator[str]:
    """Advice about git, in lines."""
    root = _git_root(folder.resolve())
    if root is None:
        yield (
            f"{folder} is in no git repository; once it is in one, run "
            "`dvc config --unset core.no_scm` there, so that DVC uses it"
        )
    if source is None:
        return
    if _own_data(folder, source):
        yield (
            f".gitignore leaves {source} out of git; `dvc add` it to share it through the DVC "
            "remote, or delete its line there if git may have it"
        )
    elif root is not None and source.resolve().is_relative_to(root):
        yield (
            f"git would track {source}; if it is private, run `dvc add` on it first, and git "
            "tracks only its hash"
        )


def _own_data(folder: Path, source: Path | None) -> bytes:
    """Lines for .gitignore about data in the project's folder; none about others."""
    if source is None or not source.resolve().is_relative_to(folder.resolve()):
        return b""
    path = source.resolve().relative_to(folder.resolve()).as_posix()
    if "\n" in path or "\r" in path:
        return b""
    escaped = re.sub(r"([\\*?\[\]!# ])", r"\\\1", path)
    reason = "# Your data, which may be private; delete the line if git may have them."
    return f"{reason}\n/{escaped}\n".encode()


def tried_spec(folder: Path, kind: str, source: Path | None) -> tuple[FirstSpec, str]:
    """A first spec that memo can prepare, and params.yaml.

    What cannot be prepared is left out, and said: columns of a table, images that are broken.
    """
    if kind == "digits":
        if source is not None:
            raise InputError(f"{source}: data of kind 'digits' come with memo, and need no path")
        return digits_spec(), spec_text(digits_spec())
    if source is None:
        raise InputError(f"data of kind {kind!r} need a path: memo init DIR --data {kind} PATH")
    if folder.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{source}: the data must not be the project's own folder or one above it")
    path = _path_in_spec(folder, source)
    return _tried_table(path, source) if kind == "table" else _tried_images(path, source)


def _tried_table(path: str, source: Path) -> tuple[FirstSpec, str]:
    refused: dict[str, str] = {}
    while True:
        first = table_spec(path, source, refused)
        text = spec_text(first)
        try:
            facts = tried(text, source).facts
        except ColumnError as error:
            if error.column in refused or len(refused) == MOST_REFUSED:
                raise
            refused[error.column] = error.problem
        else:
            copies = [note for note in facts["notes"] if note.startswith("copies:")]
            return saying(first, copies if facts["copies"]["exact"] else []), text


def _tried_images(path: str, source: Path) -> tuple[FirstSpec, str]:
    first = image_folder_spec(path, source)
    text = spec_text(first)
    try:
        facts = tried(text, source).facts
    except DataError as error:
        first = skipping_broken(first)
        text = spec_text(first)
        try:
            prepared = tried(text, source)
        except InputError:  # so many are broken that too few are left
            raise error from None
        facts, broken = prepared.facts, prepared.facts["unreadable"]
        if not 0 < len(broken) <= MOST_BROKEN * (len(prepared) + len(broken)):
            raise error from None
    notes = [note for note in facts["notes"] if not note.startswith("limit:")]  # said with minutes
    return saying(first, [f"{source}: {first.count:,} images", *notes]), text


def _path_in_spec(folder: Path, source: Path) -> str:
    """The path of the data, relative to the project where both are in one folder or repository.

    A relative path then holds in a colleague's clone too. Of data elsewhere only the absolute path
    is sure.
    """
    home, data = folder.resolve(), source.resolve()
    try:
        str(data).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{str(data)!r}: the path is not UTF-8 text, which params.yaml must be"
        ) from None
    if data.is_relative_to(_git_root(home) or home):
        return Path(os.path.relpath(data, home)).as_posix()
    return str(data)


def _git_root(folder: Path) -> Path | None:
    return next((f for f in (folder, *folder.parents) if (f / ".git").exists()), None)


def _require_new(folder: Path, names: list[str]) -> None:
    """See that nothing would be overwritten.

    Raises:
        InputError: Files exist already; the message names them.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, and cannot be a project's folder")
    there = [name for name in names if os.path.lexists(folder / name)]
    if not there:
        return
    problem = (
        f"{folder}: has {', '.join(there)} already; memo init overwrites nothing and wants a "
        "folder without them"
    )
    if names[-1] not in there:  # the last to be written
        problem += (
            f". There is no {names[-1]}: if an earlier `memo init` was interrupted, remove "
            f"{'them' if len(there) > 1 else 'it'} and run it again"
        )
    raise InputError(problem)


def _init_dvc(folder: Path) -> None:
    """`dvc init`, with git where the folder is in a git repository.

    Elsewhere it leaves out what git should not track, but a repository may be made there later.
    """
    from dvc.exceptions import DvcException  # noqa: PLC0415 -- it takes a second to import
    from dvc.repo import Repo  # noqa: PLC0415

    logging.getLogger("dvc").setLevel(logging.WARNING)  # it would announce itself
    git = _git_root(folder.resolve())
    below = git is not None and git != folder.resolve()
    try:
        with Repo.init(str(folder), no_scm=git is None, subdir=below):
            pass
    except DvcException as error:
        raise InputError(f"{folder}: cannot be a DVC project: {error}") from error
    leave_untracked(folder)


def leave_untracked(folder: Path) -> Path | None:
    """Have git leave out DVC's cache, where DVC has not; return the file that was written."""
    file = folder / ".dvc" / ".gitignore"
    if file.exists():
        return None
    write_whole(file, DVC_UNTRACKED)
    return file


def shipped(name: str) -> bytes:
    """A file that memo brings for new projects."""
    return (resources.files("memo") / "commands" / "templates" / name).read_bytes()
