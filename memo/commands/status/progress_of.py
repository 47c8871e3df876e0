"""status: how many models and log-likelihoods there are of each experiment, and what is left."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memo.artifacts.files import ArtifactError
from memo.artifacts.layout import Layout
from memo.artifacts.text.json_files import read_facts
from memo.artifacts.training_seconds import read_seconds
from memo.commands.status.stages_to_run import stages_to_run
from memo.errors import InputError
from memo.experiments.log_likelihoods import scored_densities, smaller_densities
from memo.pipeline.stored_experiment import StoredExperiment, load_experiment
from memo.project.project_spec import ProjectSpec


@dataclass(frozen=True)
class Count:
    """Files that hold, and how many there will be."""

    done: int
    total: int

    @property
    def left(self) -> int:
        """Number of those that are missing, or of another spec."""
        return self.total - self.done


@dataclass(frozen=True)
class ExperimentStatus:
    """One experiment's progress."""

    name: str
    waits: str | None = None
    """Why it cannot be looked at, and what to run; None where it can."""
    models: Count | None = None
    tables: Count | None = None
    """Tables of log-likelihoods."""
    training_seconds: float | None = None
    """CPU seconds that training the models takes which are left; None where none was measured."""
    stages: list[str] | None = None
    """Stages of its own that DVC would run; None where DVC does not say."""

    @property
    def done(self) -> bool:
        """True where nothing of it is left, by its files and by DVC."""
        counts = (self.models, self.tables)
        whole = all(count is not None and not count.left for count in counts)
        return self.waits is None and whole and self.stages == []

    @property
    def words(self) -> str:
        """Progress in a line, for people."""
        if self.waits is not None:
            return f"{self.name}: {self.waits}"
        assert self.models is not None
        assert self.tables is not None
        parts = [
            f"{self.models.done} of {self.models.total} models",
            f"{self.tables.done} of {self.tables.total} tables of log p",
        ]
        if self.models.left:
            parts.append(
                "training has not been timed yet"
                if self.training_seconds is None
                else f"training the rest takes about {_time(self.training_seconds)} of one core"
            )
        if self.done:
            parts.append("up to date")
        elif self.stages:
            parts.append(f"to run: {', '.join(self.stages)}")
        elif self.stages is not None:
            parts.append(
                "DVC would run nothing, but files are of another spec or memo: run "
                f"memo train {self.name}, memo score {self.name}, then dvc status"
            )
        return f"{self.name}: {'; '.join(parts)}"


@dataclass(frozen=True)
class Status:
    """A project's progress."""

    experiments: list[ExperimentStatus]
    others: list[str] | None
    """Stages of no experiment that DVC would run; None where DVC does not say."""
    unknown: str | None
    """Why DVC does not say; None where it does."""

    @property
    def done(self) -> bool:
        """True where `dvc repro` would run nothing, and all files hold."""
        return self.others == [] and all(one.done for one in self.experiments)

    @property
    def json(self) -> dict[str, Any]:
        """All of it for scripts."""
        return {
            "up_to_date": self.done,
            "experiments": {one.name: _as_json(one) for one in self.experiments},
            "other_stages": self.others,
            "stages_unknown": self.unknown,
        }


def project_status(project: ProjectSpec, layout: Layout, expanded: Path) -> Status:
    """Look at the files of each experiment, and ask DVC which stages it would run.

    Of models' files the headers are read, of tables of log-likelihoods all.

    Args:
        project: What params.yaml says.
        layout: Where files lie.
        expanded: expanded.yaml.
    """
    stages, unknown = None, None
    try:
        stages = stages_to_run(layout.root, project, expanded)
    except InputError as error:
        unknown = str(error)
    own: dict[str, list[str]] = {} if stages is None else {name: [] for name in project.experiments}
    others: list[str] = []
    for stage in stages or ():
        kind, _, name = stage.partition("@")
        if name in own and not kind.startswith("prepare"):
            own[name].append(kind.removeprefix("derived-").removeprefix("custom-"))
        else:
            others.append(stage)
    return Status(
        [_status(project, layout, name, own.get(name)) for name in project.experiments],
        None if stages is None else others,
        unknown,
    )


def _status(
    project: ProjectSpec, layout: Layout, name: str, stages: list[str] | None
) -> ExperimentStatus:
    try:
        _require_prepared(project, layout, project.experiments[name].dataset)
        experiment = load_experiment(project, layout, name)
        files = [experiment.model_file(model) for model in experiment.trained_models]
        held = [file.path for file in files if file.names_this_model()]
        models = Count(len(held), len(files))
        return ExperimentStatus(
            name,
            models=models,
            tables=_tables(experiment),
            training_seconds=_seconds(experiment, held, models.left),
            stages=stages,
        )
    except (ArtifactError, InputError) as error:
        return ExperimentStatus(name, waits=str(error), stages=stages)


def _require_prepared(project: ProjectSpec, layout: Layout, dataset: str) -> None:
    """See that a data set is prepared as params.yaml now has it.

    Raises:
        ArtifactError: It is not.
    """
    folder = layout.prepared(dataset)
    if not folder.is_dir():
        raise ArtifactError(f"waits for its data set; run: memo prepare {dataset}")
    wanted = json.loads(project.datasets[dataset].model_dump_json())
    if read_facts(folder / "dataset.json").get("spec") != wanted:
        raise ArtifactError(f"{folder} is of another spec; run: memo prepare {dataset}")


def _tables(experiment: StoredExperiment) -> Count:
    densities = [*scored_densities(experiment), *smaller_densities(experiment)]
    done = 0
    for density in densities:
        with suppress(ArtifactError):
            experiment.read_log_likelihoods(density)
            done += 1
    return Count(done, len(densities))


def _seconds(experiment: StoredExperiment, held: list[Path], left: int) -> float | None:
    """CPU seconds that the models left will take, by those that hold; None where none was timed."""
    if not left:
        return 0.0
    measured: Mapping[str, float] = {}
    with suppress(ArtifactError):
        measured = read_seconds(experiment.layout.seconds(experiment.name))
    known = [measured[file.stem] for file in held if file.stem in measured]
    return sum(known) / len(known) * left if known else None


def _as_json(one: ExperimentStatus) -> dict[str, Any]:
    counts = {"models": one.models, "log_likelihoods": one.tables}
    return {
        "up_to_date": one.done,
        "waits": one.waits,
        **{
            key: None if c is None else {"done": c.done, "of": c.total} for key, c in counts.items()
        },
        "training_seconds_left": one.training_seconds,
        "stages": one.stages,
    }


def _time(seconds: float) -> str:
    """A duration with its largest unit."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
