"""Parts of a spec that go together, or not: mitigations, model, data set."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, TypeAlias

from memo.mitigations.mitigation import Mitigation, Problem, Surroundings
from memo.spec.dataset_specs import ArraySpec, DatasetSpec, TableSpec
from memo.spec.model_specs import ColumnsSpec, ModelSpec, SizedColumnsSpec, VAESpec

if TYPE_CHECKING:
    from memo.project.project_spec import ExperimentSpec

__all__ = [
    "completed_model",
    "mitigated_model",
    "mitigation_problems",
    "problems_with_categories",
    "table_problems",
]

Located: TypeAlias = tuple[tuple[str | int, ...], str]
"""Path below a part of the spec, and what is wrong there."""


def mitigated_model(model: ModelSpec, mitigations: Iterable[Mitigation]) -> ModelSpec:
    """Apply the mitigations that change the density itself, in training, scores and samples."""
    for mitigation in mitigations:
        model = mitigation.changed_model(model)
    return model


def completed_model(model: ModelSpec, categories: Sequence[int]) -> ModelSpec:
    """Complete a density by the number of categories of each categorical column of a table."""
    if not isinstance(model, VAESpec) or not isinstance(model.observation, ColumnsSpec):
        return model
    sized = SizedColumnsSpec(
        kind="columns", floor=model.observation.floor, categories=list(categories)
    )
    return model.model_copy(update={"observation": sized})


def table_problems(table: TableSpec) -> Iterator[Located]:
    """Find columns of a table that have two roles."""
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
) -> Iterator[Located]:
    """Find what does not go with a table's categorical columns, once they are known.

    Returns:
        Paths below the experiment.
    """
    if not categorical:
        return
    model = experiment.model
    columns = f"categorical columns ({', '.join(map(repr, categorical))})"
    if model.support == "continuous":
        observation = model.observation if isinstance(model, VAESpec) else None
        yield (
            ("model", "kind" if observation is None else "observation"),
            f"{(observation or model).kind!r} is a density of numbers, but data set "
            f"{experiment.dataset!r} has {columns}: put them under its `drop`, or take 'vae' with "
            "`observation: columns`",
        )
    for place, mitigation in enumerate(experiment.mitigations):
        for key, message in mitigation.category_problems(columns):
            yield ("mitigations", place, key), message


def mitigation_problems(
    experiment: "ExperimentSpec", dataset: DatasetSpec | ArraySpec
) -> Iterator[Located]:
    """Find what each mitigation of an experiment does not go with, before anything runs.

    Returns:
        Paths below `mitigations`.
    """
    mitigations: Sequence[Mitigation] = experiment.mitigations
    for (_, first), (place, second) in combinations(enumerate(mitigations), 2):
        if first.kind == second.kind and not first.repeatable:
            yield (place, "kind"), f"{second.kind!r} is named twice"
        reason = first.not_with.get(second.kind) or second.not_with.get(first.kind)
        if reason is not None:
            yield (place, "kind"), f"{second.kind!r} does not go with {first.kind!r}: {reason}"
    around = Surroundings(
        experiment.model,
        experiment.training,
        experiment.scoring.design,
        dataset,
        frozenset(mitigation.kind for mitigation in mitigations),
    )
    for place, mitigation in enumerate(mitigations):
        for key, message in (*_general(mitigation, around), *mitigation.problems(around)):
            yield (place, key), message


def _general(mitigation: Mitigation, around: Surroundings) -> Iterator[Problem]:
    """Find what the facts about a kind of mitigation speak against."""
    kind, model = mitigation.kind, around.model
    if mitigation.by_training_sets and around.design.kind == "leave-one-out":
        yield Problem(
            "kind",
            f"{kind!r} is for designs that train models: it changes which observations a model "
            "without one of them is trained on, or uses such models",
        )
    if mitigation.by_gradient and not model.by_gradient:
        yield Problem(
            "kind",
            f"{kind!r} changes the steps of training, but {model.kind!r} is fitted without any",
        )
    if mitigation.for_vae and not isinstance(model, VAESpec):
        yield Problem("kind", f"{kind!r} is for models of kind 'vae', not {model.kind!r}")
