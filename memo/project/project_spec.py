"""The whole of params.yaml."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from memo.mitigations.data.remove import RemoveSpec
from memo.mitigations.kinds import MitigationSpec
from memo.project.combinations import (
    mitigated_model,
    mitigation_problems,
    problems_with_categories,
    table_problems,
)
from memo.project.derived import DerivedSpec
from memo.spec.base import Name, Spec, Support
from memo.spec.dataset_specs import ArraySpec, DatasetSpec, FilesSpec, ImagesSpec, TableSpec
from memo.spec.model_specs import ConvSpec, CustomSpec, LogisticMixtureSpec, ModelSpec, VAESpec
from memo.spec.sample_specs import DownsampledSpaceSpec, EncoderSpaceSpec
from memo.spec.scoring_specs import KFoldSpec, LeaveOneOutSpec, ScoringSpec
from memo.spec.training_specs import TrainingSpec

__all__ = ["ExperimentSpec", "ProjectSpec", "experiment_on_array"]


class ExperimentSpec(Spec):
    """One data set, one model, one training with its mitigations, one scoring.

    The six sections are all required, since each is a parameter that DVC stages depend on.
    """

    title: str | None = Field(
        default=None, max_length=200, description="A name for people; the key is used when absent."
    )
    dataset: Name = Field(description="Key of a data set under `datasets` or `files`.")
    model: ModelSpec = Field(description="The density that is trained.")
    training: TrainingSpec
    mitigations: list[MitigationSpec] = Field(
        description="Changes to training or data that should lower memorization, applied together."
    )
    scoring: ScoringSpec
    seed: int = Field(
        ge=0,
        lt=2**63,
        description="Seed of partitions, initial weights, batch order and noise.",
    )

    @model_validator(mode="after")
    def _with_floors(self) -> Self:
        model = mitigated_model(self.model, self.mitigations)
        return self if model is self.model else self.model_copy(update={"model": model})

    @property
    def removal(self) -> RemoveSpec | None:
        """What is left out by another experiment's scores."""
        return next((m for m in self.mitigations if isinstance(m, RemoveSpec)), None)


class ProjectSpec(Spec):
    """Data sets and experiments by name."""

    datasets: dict[Name, DatasetSpec] = Field(
        default={},
        description="Data sets by name. Once the file is read, those of `files` are among them.",
    )
    files: dict[Name, FilesSpec] = Field(
        default={},
        description="Data sets that are read from files of your own, at their `path`: DVC prepares "
        "them again when those change, which it does not under `datasets`.",
    )
    experiments: dict[Name, ExperimentSpec] = Field(
        default={},
        description="Experiments by name. Once the file is read, those of `custom` are among them.",
    )
    custom: dict[Name, ExperimentSpec] = Field(
        default={},
        description="Experiments whose model is of your own, `kind: custom`: DVC trains them again "
        "when its `code` changes, which it does not under `experiments`.",
    )
    derived: dict[Name, DerivedSpec] = Field(
        default={},
        description="Experiments made from others; `memo expand` writes them to expanded.yaml, "
        "where DVC finds them.",
    )

    @model_validator(mode="after")
    def _with_sections(self) -> Self:
        return self.model_copy(
            update={
                "datasets": _joined(self, "datasets", "files", "a data set"),
                "experiments": _joined(self, "experiments", "custom", "an experiment"),
            }
        )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, dataset in self.datasets.items():
            if isinstance(dataset, TableSpec):
                for below, message in table_problems(dataset):
                    section = "files" if name in self.files else "datasets"
                    raise _wrong((section, name, *below), message)
        for name, experiment in self.experiments.items():
            _check_experiment(name, experiment, self.datasets)
            _check_removal(name, self.experiments)
        return self


def _joined(project: ProjectSpec, section: str, other: str, what: str) -> dict[str, Any]:
    """What stands in two sections, by name."""
    first, second = getattr(project, section), getattr(project, other)
    for name in first.keys() & second.keys():
        if first[name] is not second[name]:  # the same ones where a project is validated again
            raise _wrong((other, name), f"`{section}` has {what} named {name!r} too")
    if not first and not second:
        raise _wrong((section,), f"there must be {what}, here or under `{other}`")
    return {**first, **second}


def experiment_on_array(settings: Mapping[str, Any], array: ArraySpec) -> ExperimentSpec:
    """The experiment that these settings describe, on observations in memory.

    Raises:
        ValidationError: A setting is wrong.
        PydanticCustomError: It does not go with another, or with the observations.
    """
    experiment = ExperimentSpec.model_validate(settings)
    if experiment.removal is not None:
        raise _wrong(("", "", "mitigations"), "'remove' needs a project: it reads another's scores")
    _check_experiment("", experiment, {experiment.dataset: array})
    return experiment


def _check_experiment(
    name: str, experiment: ExperimentSpec, datasets: Mapping[str, DatasetSpec | ArraySpec]
) -> None:
    if experiment.dataset not in datasets:
        raise _wrong(
            ("experiments", name, "dataset"),
            f"no data set is named {experiment.dataset!r}",
            given=experiment.dataset,
            choices=list(datasets),
        )
    last = experiment.training.epochs
    beyond = [epoch for epoch in experiment.scoring.epochs if epoch > last]
    if beyond:
        raise _wrong(
            ("experiments", name, "scoring", "epochs"),
            f"epoch {beyond[0]} is beyond the last one, training.epochs = {last}",
        )
    _check_model(("experiments", name, "model"), experiment, datasets[experiment.dataset])
    for below, message in mitigation_problems(experiment, datasets[experiment.dataset]):
        raise _wrong(("experiments", name, "mitigations", *below), message)
    dataset = datasets[experiment.dataset]
    if isinstance(dataset, TableSpec):
        for below, message in problems_with_categories(experiment, dataset.categorical):
            raise _wrong(("experiments", name, *below), message)
    design = ("experiments", name, "scoring", "design")
    _check_design(design, experiment, datasets[experiment.dataset].observations)
    neighbors = ("experiments", name, "scoring", "neighbors")
    _check_neighbors(neighbors, experiment, datasets[experiment.dataset])


def _check_design(
    path: tuple[str, ...], experiment: ExperimentSpec, observations: int | None
) -> None:
    match experiment.scoring.design:
        case KFoldSpec(folds=folds) if observations is not None and folds > observations:
            raise _wrong(
                (*path, "folds"),
                f"{folds} folds are more than the {observations} observations of "
                f"data set {experiment.dataset!r}",
            )
        case LeaveOneOutSpec() if not experiment.model.leaves_one_out:
            raise _wrong(
                (*path, "kind"),
                "'leave-one-out' is for densities whose value without each observation has a "
                "closed form: 'normal', and 'kde' with a bandwidth that is given or follows a "
                f"rule. {experiment.model.kind!r} must be refitted: 'k-fold' with `folds: "
                f"{observations or 'n'}`, one for each observation, does that",
            )


def _check_neighbors(
    path: tuple[str, ...], experiment: ExperimentSpec, dataset: DatasetSpec | ArraySpec
) -> None:
    spec = experiment.scoring.neighbors
    observations = dataset.observations
    if isinstance(spec.space, EncoderSpaceSpec) and not isinstance(
        experiment.model, VAESpec | CustomSpec
    ):
        raise _wrong(
            (*path, "space"),
            f"'encoder' needs a model that has one, 'vae', and {experiment.model.kind!r} has none",
        )
    if isinstance(spec.space, DownsampledSpaceSpec) and not _has_multiples(dataset, 2):
        raise _wrong(
            (*path, "space"),
            "'downsampled' needs images of even height and width, but observations of data set "
            f"{experiment.dataset!r} are {_in_words(dataset)}",
        )
    if observations is not None and 2 * (spec.samples or 0) > observations:
        raise _wrong(
            (*path, "samples"),
            f"{spec.samples} samples are more than half of the {observations} observations of "
            f"data set {experiment.dataset!r}, each of which is compared with as many others",
        )


def _check_removal(name: str, experiments: dict[str, ExperimentSpec]) -> None:
    """What is removed must be known before: another experiment's scores, on the same data set."""
    experiment = experiments[name]
    removal = experiment.removal
    if removal is None:
        return
    path = ("experiments", name, "mitigations", experiment.mitigations.index(removal), "of")
    other = experiments.get(removal.of)
    if removal.of == name:
        raise _wrong(
            path, "names its own experiment: its scores are not known before it is trained"
        )
    if other is None:
        raise _wrong(path, f"no experiment is named {removal.of!r}", removal.of, list(experiments))
    if other.dataset != experiment.dataset:
        raise _wrong(
            path, f"{removal.of!r} is about data set {other.dataset!r}, not {experiment.dataset!r}"
        )
    seen = {name}
    while other is not None and other.removal is not None:
        if other.removal.of in seen:
            raise _wrong(path, f"{removal.of!r} itself comes after {name!r}")
        seen.add(other.removal.of)
        other = experiments.get(other.removal.of)


_VALUES: dict[Support, str] = {
    "binary": "binary pixels (`values: binary` or `values: dynamic`)",
    "levels": "integer levels (`values: levels`)",
    "continuous": "real numbers (`values: continuous`)",
    "columns": "a table's columns (`kind: table`)",
}


def _check_model(
    path: tuple[str, ...], experiment: ExperimentSpec, dataset: DatasetSpec | ArraySpec
) -> None:
    model = experiment.model
    if isinstance(model, CustomSpec):  # its class says what it is for
        return
    at = (*path, "observation" if isinstance(model, VAESpec) else "kind")
    kind = model.observation.kind if isinstance(model, VAESpec) else model.kind
    if not _is_defined_on(model.support, dataset):
        raise _wrong(
            at,
            f"{kind!r} is a density of {_VALUES[model.support]}, but data set "
            f"{experiment.dataset!r} has {_VALUES[dataset.support]}",
        )
    if not isinstance(model, VAESpec):
        return
    if isinstance(model.observation, LogisticMixtureSpec) and isinstance(dataset, ImagesSpec):
        _check_levels((*at, "levels"), model.observation.levels, experiment.dataset, dataset.depth)
    if isinstance(model.network, ConvSpec):
        _check_multiples((*path, "network"), experiment.dataset, dataset)


def _check_levels(path: tuple[str, ...], levels: int, dataset: str, depth: int) -> None:
    if levels != depth:
        raise _wrong(path, f"is {levels}, but pixels of data set {dataset!r} have {depth} levels")


def _check_multiples(path: tuple[str, ...], name: str, dataset: DatasetSpec | ArraySpec) -> None:
    if not _has_multiples(dataset, 16):
        remedy = " (its `pad`, `crop` and `size` change that)"
        raise _wrong(
            path,
            "'conv' needs images whose height and width are multiples of 16, but observations of "
            f"data set {name!r} are {_in_words(dataset)}"
            f"{remedy if isinstance(dataset, ImagesSpec) else ''}",
        )


def _is_defined_on(support: Support, dataset: DatasetSpec | ArraySpec) -> bool:
    """Of a table it is not known yet whether its columns are all numbers."""
    return support == dataset.support or (
        isinstance(dataset, TableSpec) and support == "continuous"
    )


def _has_multiples(dataset: DatasetSpec | ArraySpec, divisor: int) -> bool:
    """Whether observations are images, of height and width that it divides where they are known."""
    shape = dataset.shape
    if shape is None:
        return isinstance(dataset, ImagesSpec)
    return len(shape) == 3 and not (shape[1] % divisor or shape[2] % divisor)


def _in_words(dataset: DatasetSpec | ArraySpec) -> str:
    return "records" if dataset.shape is None else " x ".join(map(str, dataset.shape))


def _wrong(
    path: tuple[str | int, ...], message: str, given: str = "", choices: Sequence[str] = ()
) -> PydanticCustomError:
    context = {"message": message, "path": path, "given": given, "choices": choices}
    return PydanticCustomError("inconsistent", "{message}", context)
