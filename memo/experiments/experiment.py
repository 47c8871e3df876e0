"""An experiment with its data: what every computation after `prepare` starts from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from torch import nn

from memo.artifacts.fingerprints import TRAINING_VERSION, fingerprint
from memo.datasets.prepared import Prepared
from memo.datasets.tabular.columns import Column, category_counts
from memo.design.k_fold import FoldModel, IndexArray
from memo.design.plan import Design, plan_design
from memo.design.seeds import Stream, seed_sequence
from memo.design.together import sets_of
from memo.errors import InputError
from memo.mitigations.kinds import in_order
from memo.mitigations.mitigation import Mitigation, ScoredModels
from memo.models.build import build_model
from memo.project.consistency import problems_with_categories
from memo.project.experiment_spec import ExperimentSpec
from memo.spec.model_specs import completed_model, source_of

NOTHING: IndexArray = np.empty(0, np.int64)


@dataclass(frozen=True)
class ModelPlan:
    """One model of an experiment: what it is trained on, its seed, and all that determines it."""

    name: str
    """Name of its file: `r000-f000` for repeat 0, fold 0; `full` for the model of everything."""
    words: str
    """Name in messages."""
    fold: FoldModel | None
    """Place in the design; None for the full model."""
    members: IndexArray
    """Indices of the observations that it is trained on."""
    held_out: IndexArray
    """Indices of the observations that the design withholds from it."""
    seed: np.random.SeedSequence
    """Seed of what is random about it alone."""
    common: np.random.SeedSequence
    """Seed of what it has in common with other models; the full model's is its own."""
    fingerprint: str
    """A hash of everything that determines its weights."""

    @property
    def repeat(self) -> int | None:
        """The repeat of the design that it belongs to; None for the full model."""
        return None if self.fold is None else self.fold.repeat


@dataclass(frozen=True)
class Experiment:
    """A spec, the observations that it is about, and the models that its design asks for.

    Args:
        name: What files and messages call it.
        spec: Its specification, completed by what the data say.
        data: The prepared observations.
        data_hash: Their content hash.
        design: Which models are trained on which observations.
    """

    name: str
    spec: ExperimentSpec
    data: Prepared
    data_hash: str
    design: Design

    @property
    def last_epoch(self) -> int:
        """The last scored epoch."""
        return self.spec.scoring.epochs[-1]

    @property
    def observations(self) -> pl.DataFrame:
        """`Prepared.observations`, with sets that are held out together as groups."""
        sets, known = self.design.sets, self.data.observations
        return known if sets is None else known.with_columns(group=pl.Series(sets.names))

    @cached_property
    def models(self) -> list[ModelPlan]:
        """The fold models of the design, repeat by repeat, then the full model.

        Raises:
            InputError: A model is left nothing to train on.
        """
        return [*map(self._fold_model, self.design.fold_models), self.full_model]

    @cached_property
    def smaller_models(self) -> list[ModelPlan]:
        """Models of smaller training sets, which scores are extrapolated from and nothing else.

        Raises:
            InputError: A model is left nothing to train on.
        """
        return [
            self._fold_model(fold, f"repeat {fold.repeat}, smaller training set {fold.fold}")
            for fold in self.design.smaller_models
        ]

    @property
    def trained_models(self) -> list[ModelPlan]:
        """Every model to train. Those of `models` come first, so that their stacks stay theirs."""
        return [*self.models, *self.smaller_models]

    @cached_property
    def full_model(self) -> ModelPlan:
        """The model that is trained on all observations but those that mitigations leave out.

        Raises:
            InputError: It is left nothing to train on.
        """
        seed = seed_sequence(self.spec.seed, Stream.FULL_MODEL)
        return ModelPlan(
            "full",
            "full model",
            None,
            self.training_members(NOTHING),
            NOTHING,
            seed,
            seed,
            self._fingerprint(full=True),
        )

    def training_members(self, held_out: IndexArray) -> IndexArray:
        """Indices of what a model is trained on: not what is held out or left out by mitigations.

        Raises:
            InputError: Nothing is left.
        """
        members = np.setdiff1d(np.arange(len(self.data)), held_out, assume_unique=True)
        for left_by in self._training_filters:
            members = left_by(members)
        if not len(members):
            raise InputError(f"experiment {self.name}: a model is left nothing to train on")
        return members

    @cached_property
    def _training_filters(self) -> list[Callable[[IndexArray], IndexArray]]:
        return [m.training_filter(self.data) for m in in_order(self.spec.mitigations)]

    def left_out(self) -> dict[str, int]:
        """Numbers of observations that mitigations leave out of training on everything, by kind."""
        counts: dict[str, int] = {}
        members = np.arange(len(self.data))
        filtering = in_order(self.spec.mitigations)
        for mitigation, left_by in zip(filtering, self._training_filters, strict=True):
            left = left_by(members)
            if type(mitigation).training_filter is not Mitigation.training_filter:
                counts[mitigation.kind] = len(members) - len(left)
            members = left
        return counts

    def scored_models(self, *, smaller: bool = False) -> ScoredModels:
        """The models of the design, or those of smaller training sets, as mitigations see them."""
        models = self.design.smaller_models if smaller else self.design.fold_models
        return ScoredModels(
            self.data,
            [self.training_members(model.held_out) for model in models],
            self.spec.training,
            self.spec.scoring.design,
            self.last_epoch,
        )

    @cached_property
    def blank_model(self) -> nn.Module:
        """The model of the spec, with weights to be set."""
        return build_model(self.spec.model, self.data.shape)

    def partitions_fingerprint(self) -> str:
        """A hash that experiments share whose jackknife blocks hold out the same observations."""
        first = min((model.repeat for model in self.design.fold_models), default=0)
        return fingerprint(
            {
                "data": self.data_hash,
                "design": self.design.pairing,
                "seed": self.spec.seed,
                **({"first_repeat": first} if first else {}),
            }
        )

    def _fold_model(self, fold: FoldModel, words: str = "") -> ModelPlan:
        position = (fold.repeat, fold.fold)
        return ModelPlan(
            fold.name,
            words or f"repeat {fold.repeat}, fold {fold.fold}",
            fold,
            self.training_members(fold.held_out),
            fold.held_out,
            seed_sequence(self.spec.seed, Stream.FOLD_MODEL, *position),
            seed_sequence(self.spec.seed, Stream.COMMON, fold.company),
            self._fingerprint(design=self.design.determinants, repeat=fold.repeat, fold=fold.fold),
        )

    def _fingerprint(self, **position: Any) -> str:
        """A hash of all that determines a model; how many there are does not."""
        training = self.spec.training.model_dump()
        if training["precision"] == "float32":  # models that were trained before there was a choice
            del training["precision"]
        return fingerprint(
            {
                "data": self.data_hash,
                "model": self._model_determinants,
                "training": training,
                "mitigations": self._mitigation_determinants,
                "seed": self.spec.seed,
                "version": TRAINING_VERSION,
                **position,
            }
        )

    @cached_property
    def _model_determinants(self) -> dict[str, Any]:
        """The model's spec; for code of the user's own, what it says instead of where it lies."""
        source = source_of(self.spec.model)
        if source is None:
            return self.spec.model.model_dump(exclude_none=True)
        return self.spec.model.model_dump(exclude={"code"}) | {"source": source.digest}

    @cached_property
    def _mitigation_determinants(self) -> list[dict[str, Any]]:
        """Parts of mitigations that determine trained models."""
        return [
            mitigation.determinants()
            for mitigation in self.spec.mitigations
            if not mitigation.of_the_released_density
        ]


def plan_experiment(name: str, spec: ExperimentSpec, data: Prepared, data_hash: str) -> Experiment:
    """Complete a spec by what the data say, and lay out its design.

    Raises:
        InputError: The data set is too small for the design, or has no such groups as the design
            says, or has categories that the model or a mitigation cannot have.
    """
    if data.columns is not None:
        spec = _with_columns(name, spec, data.columns)
    try:
        sets = sets_of(spec.scoring.design, data)
    except InputError as error:
        raise InputError(
            f"experiments.{name}.scoring.design, data set {spec.dataset!r}: {error}"
        ) from None
    try:
        design = plan_design(spec.scoring.design, len(data), spec.seed, sets)
    except InputError as error:
        raise InputError(
            f"experiments.{name}.scoring.design: {error} of data set {spec.dataset!r}"
        ) from None
    return Experiment(name, spec, data, data_hash, design)


def _with_columns(name: str, spec: ExperimentSpec, columns: Sequence[Column]) -> ExperimentSpec:
    """The experiment, once a table's columns are known."""
    categorical = [column.name for column in columns if column.categories is not None]
    for problem in problems_with_categories(spec, categorical):
        path = ".".join(map(str, problem.path))
        raise InputError(f"experiments.{name}.{path}: {problem.message}")
    return spec.model_copy(update={"model": completed_model(spec.model, category_counts(columns))})
