"""The whole of params.yaml."""

from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from memo.spec.base import Name, Spec
from memo.spec.datasets import DatasetSpec
from memo.spec.models import ModelSpec
from memo.spec.scoring import ScoringSpec
from memo.spec.training import MitigationSpec, TrainingSpec

__all__ = ["ExperimentSpec", "ProjectSpec"]


class ExperimentSpec(Spec):
    """One data set, one model, one training with its mitigations, one scoring.

    The six sections are all required, since each is a parameter that DVC stages depend on.
    """

    title: str | None = Field(
        default=None, max_length=200, description="A name for people; the key is used when absent."
    )
    dataset: Name = Field(description="Key of a data set under `datasets`.")
    model: ModelSpec
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


class ProjectSpec(Spec):
    """Data sets and experiments by name."""

    datasets: dict[Name, DatasetSpec] = Field(min_length=1)
    experiments: dict[Name, ExperimentSpec] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, experiment in self.experiments.items():
            _check_experiment(name, experiment, self.datasets)
        return self


def _check_experiment(
    name: str, experiment: ExperimentSpec, datasets: dict[str, DatasetSpec]
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
    observations = datasets[experiment.dataset].observations
    folds = experiment.scoring.design.folds
    if observations is not None and folds > observations:
        raise _wrong(
            ("experiments", name, "scoring", "design", "folds"),
            f"{folds} folds are more than the {observations} observations of "
            f"data set {experiment.dataset!r}",
        )


def _wrong(
    path: tuple[str, ...], message: str, given: str = "", choices: Sequence[str] = ()
) -> PydanticCustomError:
    context = {"message": message, "path": path, "given": given, "choices": choices}
    return PydanticCustomError("inconsistent", "{message}", context)
