"""What makes sense together: mitigations, model, data set."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, TypeAlias

from memo.mitigations.specs import (
    AugmentationSpec,
    BackgroundSpec,
    DeduplicateSpec,
    DPSGDSpec,
    MitigationSpec,
    ObservationVarianceSpec,
    PosteriorVarianceSpec,
    RemoveSpec,
)
from memo.spec.dataset_specs import ArraySpec, DatasetSpec, ImagesSpec, TableSpec
from memo.spec.model_specs import (
    ColumnsSpec,
    ConvSpec,
    CustomSpec,
    DiagonalGaussianSpec,
    FlowSpec,
    GaussianSpec,
    ModelSpec,
    SizedColumnsSpec,
    VAESpec,
)
from memo.spec.scoring_specs import DesignSpec

if TYPE_CHECKING:
    from memo.project.experiment_spec import ExperimentSpec

__all__ = [
    "BY_GRADIENT",
    "completed_model",
    "mitigated_model",
    "mitigation_problems",
    "problems_with_categories",
    "table_problems",
]

Problem: TypeAlias = tuple[tuple[str | int, ...], str]
"""Path below the experiment or the data set, and what is wrong there."""

BY_GRADIENT = (
    "learning-rate",
    "weight-decay",
    "early-stopping",
    "dp-sgd",
    "augmentation",
)
"""Kinds that change the steps of training."""
_OF_LATENT_VARIABLES = ("kl-weight", "posterior-variance", "dropout", "spectral-norm")
_WITH_VARIANCE = GaussianSpec | DiagonalGaussianSpec | ColumnsSpec
_BY_TRAINING_SETS = ("remove", "deduplicate", "ensemble", "background")
_REPEATABLE = ("learning-rate",)

_NOT_TOGETHER = {
    ("dp-sgd", "early-stopping"): "the validation loss would be read from the data without noise, "
    "and is not counted in epsilon",
    ("dp-sgd", "remove"): "which observations are left out was read from the data without noise, "
    "and is not counted in epsilon",
    ("dp-sgd", "ensemble"): "each member spends epsilon on most of the same observations",
    ("background", "dp-sgd"): "the broad density is fitted to the data without noise, and is not "
    "counted in epsilon",
}


def mitigated_model(model: ModelSpec, mitigations: list[MitigationSpec]) -> ModelSpec:
    """The density as its floors make it: they are a part of what is trained, scored and sampled."""
    for mitigation in mitigations:
        if not isinstance(model, VAESpec):
            break
        match mitigation:
            case PosteriorVarianceSpec():
                floor = max(mitigation.floor, model.posterior_variance_floor or 0)
                model = model.model_copy(update={"posterior_variance_floor": floor})
            case ObservationVarianceSpec() if isinstance(model.observation, _WITH_VARIANCE):
                floor = max(mitigation.floor**0.5, model.observation.floor or 0)
                observation = model.observation.model_copy(update={"floor": floor})
                model = model.model_copy(update={"observation": observation})
    return model


def completed_model(model: ModelSpec, categories: Sequence[int]) -> ModelSpec:
    """The density, once it is known how many categories each categorical column of a table has."""
    if not isinstance(model, VAESpec) or not isinstance(model.observation, ColumnsSpec):
        return model
    sized = SizedColumnsSpec(
        kind="columns", floor=model.observation.floor, categories=list(categories)
    )
    return model.model_copy(update={"observation": sized})


def table_problems(table: TableSpec) -> Iterator[Problem]:
    """What speaks against a table's spec: columns with two roles."""
    if table.columns is not None and table.drop:
        yield ("drop",), "does not go with `columns`: what is not under `columns` is not modelled"
    aside: dict[str, str] = {}
    for role, name in (
        ("id", table.id),
        ("label", table.label),
        *(("drop", name) for name in table.drop),
    ):
        if name is not None and name in aside:
            yield (role,), f"column {name!r} is under `{aside[name]}` already"
        elif name is not None:
            aside[name] = role
    chosen = table.columns or []
    for role, names in (
        ("columns", chosen),
        ("categorical", table.categorical),
        ("dequantize", list(table.dequantize)),
    ):
        for place, name in enumerate(names):
            if name in names[:place]:
                yield (role,), f"column {name!r} is named twice"
            if name in aside:
                yield (role,), f"column {name!r} is not modelled: it is under `{aside[name]}`"
            if chosen and name not in chosen:
                yield (role,), f"column {name!r} is not modelled: it is not under `columns`"
    for name in table.dequantize:
        if name in table.categorical:
            yield ("dequantize",), f"column {name!r} is under `categorical`, and has no numbers"


def problems_with_categories(
    experiment: "ExperimentSpec", categorical: Sequence[str]
) -> Iterator[Problem]:
    """What speaks against an experiment on a table, once its categorical columns are known."""
    if not categorical:
        return
    model = experiment.model
    columns = f"categorical columns ({', '.join(map(repr, categorical))})"
    if model.support == "continuous":
        kind = model.observation.kind if isinstance(model, VAESpec) else model.kind
        yield (
            ("model", "observation" if isinstance(model, VAESpec) else "kind"),
            f"{kind!r} is a density of numbers, but data set {experiment.dataset!r} has {columns}: "
            "put them under its `drop`, or take 'vae' with `observation: columns`",
        )
    for place, mitigation in enumerate(experiment.mitigations):
        path = ("mitigations", place)
        if isinstance(mitigation, AugmentationSpec) and mitigation.noise:
            yield (*path, "noise"), f"is for numbers, but there are {columns}"
        if isinstance(mitigation, BackgroundSpec):
            yield (*path, "kind"), f"'background' has no density of {columns}"


def mitigation_problems(
    experiment: "ExperimentSpec", dataset: DatasetSpec | ArraySpec
) -> Iterator[Problem]:
    """What speaks against each mitigation of an experiment, before anything runs."""
    mitigations = experiment.mitigations
    for (_, first), (place, second) in combinations(enumerate(mitigations), 2):
        kinds = (first.kind, second.kind)
        if first.kind == second.kind and first.kind not in _REPEATABLE:
            yield (place, "kind"), f"{second.kind!r} is named twice"
        reason = _NOT_TOGETHER.get((min(kinds), max(kinds)))
        if reason is not None:
            yield (place, "kind"), f"{second.kind!r} does not go with {first.kind!r}: {reason}"
    for place, mitigation in enumerate(mitigations):
        if mitigation.kind == "dp-sgd" and experiment.training.precision != "float32":
            yield (
                (place, "kind"),
                f"'dp-sgd' does not go with training.precision {experiment.training.precision!r}: "
                "the gradient of each observation by itself is computed in float32",
            )
        yield from _problems_with_design(place, mitigation, experiment.scoring.design)
        for path, problem in (
            *_problems_with_model(mitigation, experiment.model),
            *_problems_with_data(mitigation, experiment, dataset),
        ):
            yield (place, *path), problem


def _problems_with_design(
    place: int, mitigation: MitigationSpec, design: DesignSpec
) -> Iterator[Problem]:
    if design.kind == "leave-one-out" and mitigation.kind in _BY_TRAINING_SETS:
        yield (
            (place, "kind"),
            f"{mitigation.kind!r} is for designs that train models: it changes which observations "
            "a model without one of them is trained on, or uses such models",
        )
    elif design.kind != "k-fold" and mitigation.kind == "ensemble":
        yield (
            (place, "kind"),
            "'ensemble' is for designs of kind 'k-fold': its members are the models of a repeat, "
            "each trained without one part of a partition",
        )


def _problems_with_model(mitigation: MitigationSpec, model: ModelSpec) -> Iterator[Problem]:
    kind = mitigation.kind
    if kind in BY_GRADIENT and not isinstance(model, VAESpec | FlowSpec | CustomSpec):
        yield (
            ("kind",),
            f"{kind!r} changes the steps of training, but {model.kind!r} is fitted without any",
        )
    if kind in _OF_LATENT_VARIABLES and not isinstance(model, VAESpec):
        yield ("kind",), f"{kind!r} is for models of kind 'vae', not {model.kind!r}"
    if kind == "observation-variance" and not (
        isinstance(model, VAESpec) and isinstance(model.observation, _WITH_VARIANCE)
    ):
        what = model.observation.kind if isinstance(model, VAESpec) else model.kind
        yield (
            ("kind",),
            f"{kind!r} is for Gaussian pixels or columns, but {what!r} has no such variance",
        )
    if (
        kind == "spectral-norm"
        and isinstance(model, VAESpec)
        and isinstance(model.network, ConvSpec)
    ):
        yield (
            ("kind",),
            f"{kind!r} has no effect on a network of kind 'conv': each of its layers is followed "
            "by a normalization, which undoes any scale",
        )


def _problems_with_data(
    mitigation: MitigationSpec, experiment: "ExperimentSpec", dataset: DatasetSpec | ArraySpec
) -> Iterator[Problem]:
    n = dataset.observations
    support = dataset.support
    match mitigation:
        case AugmentationSpec():
            yield from _augmentation_problems(mitigation, dataset)
        case BackgroundSpec() if (mitigation.density == "frequencies") == (
            support in ("continuous", "columns")
        ):
            yield (
                ("density",),
                f"{mitigation.density!r} is not a density of {support} values (frequencies: for "
                "binary and levels; normal, kde: for continuous, and for columns of numbers)",
            )
        case DPSGDSpec() if n is not None and mitigation.delta >= 1 / n:
            yield (
                ("delta",),
                f"is not below 1 / {n}, the number of observations: publishing one of them at "
                "random would satisfy it",
            )
        case DPSGDSpec() if isinstance(dataset, TableSpec) and (
            dataset.standardize or dataset.missing == "impute"
        ):
            yield (
                ("kind",),
                "does not go with `standardize` or `missing: impute` of a data set: means, scales "
                "and medians are read from the data without noise, and are not counted in epsilon",
            )
        case DeduplicateSpec() if mitigation.distance > 0:
            if any(other.kind == "dp-sgd" for other in experiment.mitigations):
                yield (
                    ("distance",),
                    "does not go with 'dp-sgd' above 0: one observation may decide on many others, "
                    "which is not counted in epsilon",
                )
        case RemoveSpec() if n is not None and (mitigation.count or 0) >= n:
            yield ("count",), f"leaves nothing to train on: there are {n} observations"
        case _:
            pass


def _augmentation_problems(
    augmentation: AugmentationSpec, dataset: DatasetSpec | ArraySpec
) -> Iterator[Problem]:
    if not isinstance(dataset, ImagesSpec):
        for name in ("flips", "shifts"):
            if getattr(augmentation, name):
                yield (name,), f"is for images, not for data sets of kind {dataset.kind!r}"
    elif dataset.shape is not None and augmentation.shifts >= min(dataset.shape[1:]):
        yield ("shifts",), f"moves images of {dataset.shape[1]} x {dataset.shape[2]} out of sight"
    if augmentation.noise and dataset.support == "levels":
        yield ("noise",), "is for binary or continuous values, not for integer levels"
    if augmentation.noise >= 0.5 and dataset.support == "binary":
        yield ("noise",), "inverts binary pixels with a probability that must be below 0.5"
