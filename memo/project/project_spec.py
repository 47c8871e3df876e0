"""The whole of params.yaml."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import Field, PrivateAttr, model_validator

from memo.project.consistency import Problem, experiment_problems, removal_problems, table_problems
from memo.project.cost import dataset_excesses, excesses
from memo.project.derived import DerivedSpec
from memo.project.experiment_spec import ExperimentSpec
from memo.spec.base import Name, Spec
from memo.spec.dataset_specs import ArraySpec, DatasetSpec, FilesSpec, TableSpec
from memo.spec.model_specs import CustomSpec

RESERVED = "compare"
"""Name of the folder of reports that no experiment can have: DVC refuses outputs that overlap."""

PolicyFile = Annotated[str, Field(min_length=1, max_length=500)]
"""Path of a policy, from the project's folder."""


class ProjectSpec(Spec):
    """Data sets and experiments by name."""

    datasets: dict[Name, DatasetSpec] = Field(
        default={},
        description="Data sets by name. Once the file is read, those under `files` are among them.",
    )
    files: dict[Name, FilesSpec] = Field(
        default={},
        description="Data sets that are read from your own files, at their `path`. DVC prepares "
        "them again when these files change, which it does not do under `datasets`.",
    )
    experiments: dict[Name, ExperimentSpec] = Field(
        default={},
        description="Experiments by name; none where models are trained elsewhere. Once the file "
        "is read, those under `custom` are among them.",
    )
    custom: dict[Name, ExperimentSpec] = Field(
        default={},
        description="Experiments whose model is your own, `kind: custom`. DVC trains them again "
        "when its `code` changes, which it does not do under `experiments`.",
    )
    derived: dict[Name, DerivedSpec] = Field(
        default={},
        description="Experiments made from others. `memo expand` writes them to expanded.yaml, "
        "where DVC finds them.",
    )
    policies: dict[Name, PolicyFile] = Field(
        default={},
        description="Files of policies by experiment, of any section: the stage `gate` judges each "
        "by its own, and fails where the policy does not pass (docs/gate.md).",
    )
    _expanded: dict[str, Any] = PrivateAttr(default={})

    @model_validator(mode="after")
    def _with_all_sections(self) -> Self:
        if not self.datasets and not self.files:
            message = "there must be a data set, here or under `files`"
            raise Problem(("datasets",), message).error()
        return self.model_copy(
            update={
                "datasets": _joined(self, "datasets", "files", "a data set"),
                "experiments": _joined(self, "experiments", "custom", "an experiment"),
            }
        )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for problem in self._problems():
            raise problem.error()
        return self

    @property
    def expanded(self) -> dict[str, Any]:
        """The experiments made from others by name, each whole, as expanded.yaml has them.

        Beside the sections of an experiment: `after`, the file that must exist before its training
        starts, and `code`, the file of its model.
        """
        return self._expanded

    def with_expanded(self, experiments: Mapping[str, Any]) -> Self:
        """A copy with `expanded`.

        Args:
            experiments: The experiments made from others as they would be written in params.yaml,
                by name; they are among `self.experiments` already.
        """
        copy = self.model_copy()
        copy._expanded = {
            name: {**written, **_dependencies(self.experiments[name])}
            for name, written in experiments.items()
        }
        return copy

    def _problems(self) -> Iterator[Problem]:
        for name, dataset in self.datasets.items():
            if isinstance(dataset, TableSpec):
                section = "files" if name in self.files else "datasets"
                for problem in table_problems(dataset):
                    yield problem.below(section, name)
            for excess in dataset_excesses(dataset):
                yield Problem(*excess).below("files" if name in self.files else "datasets", name)
        for name, experiment in self.experiments.items():
            yield from _impossible(name, experiment, self.datasets)
            for problem in experiment_problems(experiment, self.datasets):
                yield problem.below("experiments", name)
            for problem in removal_problems(name, self.experiments):
                yield problem.below("experiments", name)


def _impossible(
    name: str, experiment: ExperimentSpec, datasets: Mapping[str, DatasetSpec]
) -> Iterator[Problem]:
    """Find what would end in an error of DVC's or of memory, long after work has begun."""
    if name == RESERVED:
        message = f"the name {name!r} is taken by reports/{name}, where experiments are compared"
        yield Problem(("experiments", name), message)
    if experiment.dataset in datasets:
        for excess in excesses(experiment, datasets[experiment.dataset]):
            yield Problem(*excess).below("experiments", name)


def experiment_on_array(settings: Mapping[str, Any], array: ArraySpec) -> ExperimentSpec:
    """Validate the settings of an experiment on observations in memory.

    Raises:
        ValidationError: A setting is wrong.
        PydanticCustomError: A setting does not go with another, or with the observations.
    """
    experiment = ExperimentSpec.model_validate(settings)
    if experiment.removal is not None:
        message = "'remove' needs a project: it reads another's scores"
        raise Problem(("mitigations",), message).below("experiments", "").error()
    for excess in excesses(experiment, array):
        raise Problem(*excess).below("experiments", "").error()
    for problem in experiment_problems(experiment, {experiment.dataset: array}):
        raise problem.below("experiments", "").error()
    return experiment


def _joined(project: ProjectSpec, section: str, other: str, what: str) -> dict[str, Any]:
    """The entries of two sections by name."""
    first, second = getattr(project, section), getattr(project, other)
    for name in first.keys() & second.keys():
        if first[name] is not second[name]:  # they are the same in a project validated again
            raise Problem((other, name), f"`{section}` has {what} named {name!r} too").error()
    return {**first, **second}


def _dependencies(experiment: ExperimentSpec) -> dict[str, str]:
    """`after` and `code` of `ProjectSpec.expanded`; the data set's files where nothing else is."""
    data = f"data/prepared/{experiment.dataset}"
    removal, model = experiment.removal, experiment.model
    return {
        "after": data if removal is None else f"artifacts/scores/{removal.of}.parquet",
        "code": model.code if isinstance(model, CustomSpec) else data,
    }
