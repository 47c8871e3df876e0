"""adopt: what another git revision has trained and scored of an experiment -> this project."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from memo.artifacts.files import ArtifactError, by_reason, write_whole
from memo.artifacts.model_files import ModelFile
from memo.artifacts.tracked.revision import Revision
from memo.artifacts.training_seconds import parse_seconds, read_seconds, write_seconds
from memo.errors import InputError
from memo.experiments.log_likelihoods import (
    ScoredDensity,
    scored_densities,
    smaller_densities,
)
from memo.pipeline.stored_experiment import StoredExperiment, exclusive


@dataclass(frozen=True)
class Adopted:
    """Files that were taken over, and why others were not."""

    files: list[Path]
    refused: list[str]
    """Why others were not, a sentence for each reason."""
    unnamed: int
    """Files of the revision that this spec has no use for, as those of further repeats."""
    forged: list[str]
    """Why files were not taken that are not what the revision recorded, or cannot be had."""


@exclusive
def adopt(experiment: StoredExperiment, revision: Revision) -> tuple[Adopted, Adopted]:
    """Take over models, and log-likelihoods under them, that hold for this experiment's spec.

    A file's fingerprint names everything that determines it, so that it is the one that would be
    computed here. Files that hold already are left alone.

    Returns:
        What became of models, and of tables of log-likelihoods.

    Raises:
        InputError: The revision, or what it tracks, cannot be had; or it has no such experiment.
        ArtifactError: The list of a folder's files is not what the revision recorded; or a file
            cannot be written.
    """
    files = [experiment.model_file(model) for model in experiment.trained_models]
    models = [_Wanted(file.path, partial(_model_problem, file)) for file in files]
    tables = [
        _Wanted(experiment.table_file(density), partial(_table_problem, experiment, density))
        for density in [*scored_densities(experiment), *smaller_densities(experiment)]
    ]
    found = _adopted(models, revision), _adopted(tables, revision)
    _take_seconds(experiment, revision, found[0].files)
    return found


@dataclass(frozen=True)
class _Wanted:
    path: Path
    problem: Callable[[Path], str | None]
    """Says why a file cannot be taken for this one."""


def _model_problem(file: ModelFile, path: Path) -> str | None:
    return file.at(path).problem()


def _table_problem(experiment: StoredExperiment, density: ScoredDensity, path: Path) -> str | None:
    try:
        experiment.read_log_likelihoods(density, path)
    except ArtifactError as error:
        return str(error)
    return None


def _adopted(wanted: Sequence[_Wanted], revision: Revision) -> Adopted:
    listed = {
        folder / name
        for folder in {one.path.parent for one in wanted}
        for name in revision.files(folder)
    }
    if not listed:
        raise InputError(f"revision {revision.name!r} has no {wanted[0].path.parent}")
    taken, forged = [], []
    refused: dict[str, list[Path]] = {}
    for one in wanted:
        if one.path in listed and one.problem(one.path) is not None:
            try:
                content = revision.read(one.path)
            except ArtifactError as error:
                forged.append(str(error))
                continue
            problem = _take(one, content, revision.name)
            if problem is None:
                taken.append(one.path)
            else:
                refused.setdefault(problem, []).append(one.path)
    words = list(by_reason(refused, f"@{revision.name}"))
    return Adopted(taken, words, len(listed - {one.path for one in wanted}), forged)


def _take(wanted: _Wanted, content: bytes, revision: str) -> str | None:
    """Write a file, once its content is seen to hold; return the reason why it was not."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / wanted.path.name
        write_whole(copy, content)
        problem = wanted.problem(copy)
    if problem is None:
        write_whole(wanted.path, content)
        return None
    return problem.removeprefix(f"{copy}: ").replace(str(copy), f"{wanted.path}@{revision}")


def _take_seconds(experiment: StoredExperiment, revision: Revision, models: Sequence[Path]) -> None:
    file = experiment.layout.seconds(experiment.name)
    if not models or file.name not in revision.files(file.parent):
        return
    theirs = parse_seconds(revision.read(file), file)
    measured = {path.stem: theirs[path.stem] for path in models if path.stem in theirs}
    write_seconds(file, read_seconds(file) | measured)
