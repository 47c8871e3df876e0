"""An experiment with its data: what every stage after prepare starts from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from memo.artifacts.fingerprints import fingerprint
from memo.artifacts.layout import Layout
from memo.artifacts.versions import TRAINING_VERSION
from memo.datasets.prepared import Prepared
from memo.datasets.tabular.columns import Column, category_counts
from memo.design.k_fold import FoldModel, IndexArray
from memo.design.plan import Design, plan_design
from memo.errors import InputError
from memo.mitigations.kinds import in_order
from memo.mitigations.mitigation import ScoredModels
from memo.pipeline.prepare import read_prepared
from memo.pipeline.removal import with_removal
from memo.project.combinations import completed_model, problems_with_categories
from memo.project.project_spec import ExperimentSpec, ProjectSpec
from memo.project.reading import select_experiment
from memo.scores.summaries import scored_epoch
from memo.spec.model_specs import CustomSpec, source_of
from memo.spec.user_code import read_code

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Experiment", "load_experiment"]


@dataclass(frozen=True)
class Experiment:
    """A spec, the observations that it is about, and where its files lie."""

    name: str
    spec: ExperimentSpec
    layout: Layout
    data: Prepared
    data_hash: str
    design: Design

    def training_members(self, held_out: IndexArray) -> IndexArray:
        """What a model is trained on: not what it has held out, nor what mitigations leave out."""
        members = np.setdiff1d(np.arange(len(self.data)), held_out, assume_unique=True)
        for left_by in self._training_filters:
            members = left_by(members)
        if not len(members):
            raise InputError(f"experiment {self.name}: a model is left nothing to train on")
        return members

    @cached_property
    def _training_filters(self) -> list[Callable[[IndexArray], IndexArray]]:
        return [m.training_filter(self.data) for m in in_order(self.spec.mitigations)]

    def scored_models(self) -> ScoredModels:
        """The models of the design, as mitigations see them."""
        return ScoredModels(
            self.data,
            [self.training_members(model.held_out) for model in self.fold_models()],
            self.spec.training,
            self.spec.scoring.design,
            self.spec.scoring.epochs[-1],
        )

    @cached_property
    def blank_model(self) -> "nn.Module":
        """The model of the spec, with weights to be set."""
        from memo.models.build import build_model  # noqa: PLC0415 -- torch takes a second

        return build_model(self.spec.model, self.data.shape)

    def fold_models(self) -> list[FoldModel]:
        """The models of the design, and what each must not see."""
        return self.design.fold_models

    def scored_epoch(self, epoch: int | None) -> int:
        """The epoch, or the last one scored for None.

        Raises:
            InputError: It was not scored.
        """
        return scored_epoch(self.spec.scoring.epochs, epoch)

    def fold_fingerprint(self, model: FoldModel) -> str:
        """A hash of everything that determines a fold model; how many there are does not."""
        return self._fingerprint(
            design=self.design.determinants, repeat=model.repeat, fold=model.fold
        )

    def full_fingerprint(self) -> str:
        """A hash of everything that determines the full model."""
        return self._fingerprint(full=True)

    def partitions_fingerprint(self) -> str:
        """The same for two experiments whose jackknife blocks hold out the same observations."""
        return fingerprint(
            {
                "data": self.data_hash,
                "design": self.design.pairing,
                "seed": self.spec.seed,
                **({"first_repeat": first} if (first := self._first_repeat()) else {}),
            }
        )

    def _first_repeat(self) -> int:
        return min((model.repeat for model in self.fold_models()), default=0)

    def _fingerprint(self, **position: Any) -> str:
        spec = self.spec
        return fingerprint(
            {
                "data": self.data_hash,
                "model": self._model(),
                "training": self._training(),
                "mitigations": self._mitigations(),
                "seed": spec.seed,
                "version": TRAINING_VERSION,
                **position,
            }
        )

    def _training(self) -> dict[str, Any]:
        """The settings, without the precision where it is the default, as in earlier versions."""
        settings = self.spec.training.model_dump()
        if settings["precision"] == "float32":
            del settings["precision"]
        return settings

    def _model(self) -> dict[str, Any]:
        """The spec; of a model of the user's own, with what its code says, not where it lies."""
        source = source_of(self.spec.model)
        if source is None:
            return self.spec.model.model_dump(exclude_none=True)
        return self.spec.model.model_dump(exclude={"code"}) | {"source": source.digest}

    def _mitigations(self) -> list[dict[str, Any]]:
        """Those that determine trained models."""
        return [
            mitigation.determinants()
            for mitigation in self.spec.mitigations
            if not mitigation.of_the_released_density
        ]


def load_experiment(project: ProjectSpec, layout: Layout, name: str) -> Experiment:
    """The experiment of that name with its prepared data.

    Raises:
        SpecError: There is no such experiment.
        ArtifactError: Its data set is not prepared, or damaged; or the experiment whose most
            memorized observations it removes is not scored.
        InputError: The data set is too small for the design, or has categories that the model or a
            mitigation cannot have; or code of the user's own is missing.
    """
    spec = _with_source(project, layout, select_experiment(project, name))
    data, data_hash = read_prepared(layout, spec.dataset)
    if data.columns is not None:
        spec = _of_columns(name, spec, data.columns)
    try:
        design = plan_design(spec.scoring.design, len(data), spec.seed)
    except InputError as error:
        raise InputError(
            f"experiments.{name}.scoring.design: {error} of data set {spec.dataset!r}"
        ) from None
    spec = with_removal(spec, layout, data_hash)
    return Experiment(name, spec, layout, data, data_hash, design)


def _with_source(project: ProjectSpec, layout: Layout, spec: ExperimentSpec) -> ExperimentSpec:
    """A model of the user's own with its code, to be the same wherever it is built."""
    model = spec.model
    if not isinstance(model, CustomSpec):
        return spec
    source = read_code(layout.root, model.code, model.target)
    loaded = model.loaded(source, project.datasets[spec.dataset].support)
    return spec.model_copy(update={"model": loaded})


def _of_columns(name: str, spec: ExperimentSpec, columns: Sequence[Column]) -> ExperimentSpec:
    """The experiment, once a table's columns are known."""
    categorical = [column.name for column in columns if column.categories is not None]
    for path, problem in problems_with_categories(spec, categorical):
        raise InputError(f"experiments.{name}.{'.'.join(map(str, path))}: {problem}")
    return spec.model_copy(update={"model": completed_model(spec.model, category_counts(columns))})
