"""prune: results of experiments and data sets that params.yaml no longer names."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from memo.artifacts.files import ArtifactError, write_whole
from memo.artifacts.layout import Layout
from memo.artifacts.score_tables import from_table
from memo.commands.init import shipped
from memo.project.project_spec import ProjectSpec

_ANY = "x"
"""A name that places of files are asked for."""


@dataclass(frozen=True)
class Leftover:
    """A file or folder that nothing in the spec stands for."""

    path: Path
    size: int
    """Bytes, of all files below it."""


@dataclass(frozen=True)
class Leftovers:
    """Everything that a project has no use for."""

    files: list[Leftover]
    stages: list[str]
    """Entries of dvc.lock for stages that dvc.yaml no longer has."""


def find_leftovers(project: ProjectSpec, layout: Layout) -> Leftovers:
    """Find what memo wrote for experiments and data sets that the spec does not name.

    Files that memo does not write, and scores of tables with their reports, are none.

    Args:
        project: Its experiments and data sets keep all that is theirs.
        layout: Where files lie.

    Raises:
        ArtifactError: dvc.lock, dvc.yaml or a folder cannot be read.
    """
    try:
        return _find_leftovers(project, layout)
    except OSError as error:
        reason = error.strerror or error
        raise ArtifactError(f"{error.filename}: cannot be read: {reason}") from error


def _find_leftovers(project: ProjectSpec, layout: Layout) -> Leftovers:
    named = {*project.experiments, *_tables(project, layout)}
    paths = [
        path
        for place in [*layout.results(_ANY), layout.compared(_ANY)]
        for path in _entries(place)
        if path.name.removesuffix(place.suffix) not in named
    ]
    paths += [
        path
        for path in _entries(layout.report(_ANY))
        if path.name not in named and path.name != layout.comparison.name and _is_report(path)
    ]
    paths += [
        path
        for path in _entries(layout.prepared(_ANY))
        if path.name not in project.datasets and (path / "dataset.json").is_file()
    ]
    own = _own_outputs(layout)
    files = [Leftover(path, _size(path)) for path in sorted(paths) if path not in own]
    return Leftovers(files, _stale_stages(project, layout))


def prune(leftovers: Leftovers, layout: Layout) -> None:
    """Delete leftovers. What is a link is deleted, never what it leads to.

    Raises:
        ArtifactError: Something cannot be deleted.
    """
    for leftover in leftovers.files:
        try:
            if leftover.path.is_dir() and not leftover.path.is_symlink():
                shutil.rmtree(leftover.path)
            else:
                leftover.path.unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise ArtifactError(f"{leftover.path}: cannot be deleted: {reason}") from error
    if leftovers.stages:
        _forget(_lock(layout), leftovers.stages)


def _entries(place: Path) -> Iterator[Path]:
    """Files, or folders, that lie as the one of that name would."""
    if not place.parent.is_dir():
        return
    for path in place.parent.iterdir():
        is_folder = path.is_dir()
        if (
            path.name.startswith(".")
            or path.suffix != place.suffix
            or is_folder == bool(place.suffix)
        ):
            continue
        yield path


def _tables(project: ProjectSpec, layout: Layout) -> set[str]:
    """Names of scores that came from tables, by the scores or, where those are damaged, reports."""
    reports = (layout.report(file.stem) for file in layout.all_scores)
    by_report = {folder.name for folder in reports if (folder / "too-few-models.csv").is_file()}
    return {*from_table(layout, project.experiments), *by_report}


def _own_outputs(layout: Layout) -> set[Path]:
    """Outputs of stages of the user's own, which dvc.yaml names one by one."""
    file = layout.root / "dvc.yaml"
    stages = _mapping(_read(_plain(), file) if file.is_file() else None, "stages")
    return {
        layout.root / str(next(iter(out)) if isinstance(out, dict) and out else out)
        for name in stages
        for kind in ("outs", "metrics", "plots")
        for out in _mapping(stages, name).get(kind) or ()
    }


def _is_report(folder: Path) -> bool:
    """True of what `memo report` and `memo compare` write, and not of a reader's own notes."""
    beside = (folder / name for name in ("metrics.json", "comparison.json"))
    return (folder / "index.html").is_file() and any(file.is_file() for file in beside)


def _size(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())


def _lock(layout: Layout) -> Path:
    return layout.root / "dvc.lock"


def _stale_stages(project: ProjectSpec, layout: Layout) -> list[str]:
    """Entries of dvc.lock for memo's stages of experiments and data sets that are no more."""
    file = _lock(layout)
    if not file.is_file():
        return []
    stages = _mapping(_read(_plain(), file), "stages")
    ours: Any = _plain().load(shipped("dvc.yaml"))["stages"]
    wanted = {"${datasets}": project.datasets, "${files}": project.datasets}
    stale = []
    for entry in stages:
        kind, at, name = str(entry).partition("@")
        if (
            at
            and kind in ours
            and name not in wanted.get(ours[kind]["foreach"], project.experiments)
        ):
            stale.append(str(entry))
    return stale


def _forget(file: Path, stages: Sequence[str]) -> None:
    yaml = YAML()
    entries = _read(yaml, file)
    for name in stages:
        entries["stages"].pop(name, None)
    text = StringIO()
    yaml.dump(entries, text)
    write_whole(file, text.getvalue().encode())


def _plain() -> Any:
    return YAML(typ="safe", pure=True)


def _mapping(parent: Any, key: str) -> dict[str, Any]:
    """A mapping in a mapping; empty where there is none."""
    found = parent.get(key) if isinstance(parent, dict) else None
    return found if isinstance(found, dict) else {}


def _read(yaml: Any, file: Path) -> Any:
    try:
        return yaml.load(file.read_bytes())
    except (OSError, YAMLError, UnicodeError) as error:
        reason = " ".join(str(error).split())
        raise ArtifactError(f"{file}: cannot be read: {reason}") from error
