"""Parts of a spec that do not go together: model and data set, design and data set, experiments."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple, TypeAlias

from pydantic_core import PydanticCustomError

from memo.mitigations.mitigation import Mitigation, Surroundings
from memo.mitigations.mitigation import Problem as MitigationProblem
from memo.project.experiment_spec import ExperimentSpec
from memo.spec.base import Spec, Support
from memo.spec.dataset_specs import ArraySpec, DatasetSpec, ImagesSpec, TableSpec
from memo.spec.model_specs import ConvSpec, CustomSpec, GANSpec, LogisticMixtureSpec, VAESpec
from memo.spec.sample_specs import DownsampledSpaceSpec, EncoderSpaceSpec, VisionSpaceSpec
from memo.spec.sampled_likelihood_specs import SampledLikelihoodSpec, ValuesSpaceSpec
from memo.spec.scoring_specs import KFoldSpec, LeaveOneOutSpec

Observations: TypeAlias = DatasetSpec | ArraySpec

VALUES: dict[Support, str] = {
    "binary": "binary pixels (`values: binary`)",
    "levels": "integer levels (`values: levels`)",
    "continuous": "real numbers (`values: continuous`)",
    "columns": "a table's columns (`kind: table`)",
}


class Problem(NamedTuple):
    """Something that does not go with another part of the spec."""

    path: tuple[str | int, ...]
    """Keys and list positions from the experiment, data set or project that was checked."""
    message: str
    given: str = ""
    choices: Sequence[str] = ()
    """Values that would be allowed in place of `given`."""

    def below(self, *parents: str) -> "Problem":
        """The problem with a path that starts further up."""
        return self._replace(path=(*parents, *self.path))

    def error(self) -> PydanticCustomError:
        """The problem as a validation error that `memo.project.messages` understands."""
        return PydanticCustomError("inconsistent", "{message}", self._asdict())


def experiment_problems(
    experiment: ExperimentSpec, datasets: Mapping[str, Observations]
) -> Iterator[Problem]:
    """Find the parts of an experiment that do not fit each other or its data set.

    Args:
        experiment: The experiment; paths of problems start below it.
        datasets: All data sets by name.
    """
    dataset = datasets.get(experiment.dataset)
    if dataset is None:
        name = experiment.dataset
        yield Problem(("dataset",), f"no data set is named {name!r}", name, list(datasets))
        return
    last = experiment.training.epochs
    beyond = [epoch for epoch in experiment.scoring.epochs if epoch > last]
    if beyond:
        yield Problem(
            ("scoring", "epochs"),
            f"epoch {beyond[0]} is beyond the last one, training.epochs = {last}",
        )
    yield from _model_problems(experiment, dataset)
    yield from _mitigation_problems(experiment, dataset)
    if isinstance(dataset, TableSpec):
        yield from problems_with_categories(experiment, dataset.categorical)
    yield from _design_problems(experiment, dataset.observations)
    yield from _extrapolation_problems(experiment)
    yield from _neighbor_problems(experiment, dataset)
    yield from _sampled_likelihood_problems(experiment, dataset)


def problems_with_categories(
    experiment: ExperimentSpec, categorical: Sequence[str]
) -> Iterator[Problem]:
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
        yield Problem(
            ("model", "kind" if observation is None else "observation"),
            f"{(observation or model).kind!r} is a density of numbers, but data set "
            f"{experiment.dataset!r} has {columns}: put them under its `drop`, or take 'vae' with "
            "`observation: columns`",
        )
    for place, mitigation in enumerate(experiment.mitigations):
        for key, message in mitigation.category_problems(columns):
            yield Problem(("mitigations", place, key), message)


def table_problems(table: TableSpec) -> Iterator[Problem]:
    """Find columns of a table that have two roles."""
    if table.columns is not None and table.drop:
        yield Problem(
            ("drop",), "does not go with `columns`: what is not under `columns` is not modelled"
        )
    aside: dict[str, str] = {}
    for role, name in (
        ("id", table.id),
        ("label", table.label),
        ("group", table.group),
        *(("drop", name) for name in table.drop),
    ):
        if name is not None and name in aside:
            yield Problem((role,), f"column {name!r} is under `{aside[name]}` already")
        elif name is not None:
            aside[name] = role
    chosen = dict.fromkeys(table.columns or [])
    for role, names in (
        ("columns", table.columns or []),
        ("categorical", table.categorical),
        ("dequantize", list(table.dequantize)),
        ("dates", list(table.dates)),
    ):
        for name, count in Counter(names).items():
            if count > 1:
                yield Problem((role,), f"column {name!r} is named twice")
            if name in aside:
                yield Problem(
                    (role,), f"column {name!r} is not modelled: it is under `{aside[name]}`"
                )
            if chosen and name not in chosen:
                yield Problem(
                    (role,), f"column {name!r} is not modelled: it is not under `columns`"
                )
    yield from _number_problems(table)


def _number_problems(table: TableSpec) -> Iterator[Problem]:
    """Find contradictions about a table's columns of numbers."""
    for role, names in (("dequantize", [*table.dequantize]), ("dates", [*table.dates])):
        for name in set(names) & set(table.categorical):
            message = f"column {name!r} is under `categorical`, and has no numbers"
            yield Problem((role,), message)
    if table.thousands == table.decimal:
        yield Problem(("thousands",), f"is {table.thousands!r}, as `decimal` is")


def removal_problems(name: str, experiments: Mapping[str, ExperimentSpec]) -> Iterator[Problem]:
    """See that the scores by which an experiment removes observations exist before it is trained.

    Args:
        name: Key of the experiment; paths of problems start below it.
        experiments: All experiments by name.
    """
    experiment = experiments[name]
    removal = experiment.removal
    if removal is None:
        return
    path = ("mitigations", experiment.mitigations.index(removal), "of")
    other = experiments.get(removal.of)
    if removal.of == name:
        yield Problem(
            path, "names its own experiment: its scores are not known before it is trained"
        )
    elif other is None:
        yield Problem(path, f"no experiment is named {removal.of!r}", removal.of, list(experiments))
    elif other.dataset != experiment.dataset:
        yield Problem(
            path, f"{removal.of!r} is about data set {other.dataset!r}, not {experiment.dataset!r}"
        )
    elif _waits_for(other, name, experiments):
        yield Problem(path, f"{removal.of!r} itself comes after {name!r}")


def _waits_for(
    experiment: ExperimentSpec | None, name: str, experiments: Mapping[str, ExperimentSpec]
) -> bool:
    """True where the scores that an experiment needs come from `name`, or from a cycle."""
    seen = {name}
    while experiment is not None and experiment.removal is not None:
        if experiment.removal.of in seen:
            return True
        seen.add(experiment.removal.of)
        experiment = experiments.get(experiment.removal.of)
    return False


def _model_problems(experiment: ExperimentSpec, dataset: Observations) -> Iterator[Problem]:
    model, name = experiment.model, experiment.dataset
    if isinstance(model, CustomSpec):  # its class says which values it is defined on
        return
    observation = model.observation if isinstance(model, VAESpec) else None
    path = ("model", "kind" if observation is None else "observation")
    what = "sampler" if isinstance(model, GANSpec) else "density"
    numbers_of_table = isinstance(dataset, TableSpec) and model.support == "continuous"
    if model.support != dataset.support and not numbers_of_table:
        yield Problem(
            path,
            f"{(observation or model).kind!r} is a {what} of {VALUES[model.support]}, but data "
            f"set {name!r} has {VALUES[dataset.support]}",
        )
    if isinstance(observation, LogisticMixtureSpec) and isinstance(dataset, ImagesSpec):
        levels = observation.levels
        if levels != dataset.depth:
            yield Problem(
                (*path, "levels"),
                f"is {levels}, but pixels of data set {name!r} have {dataset.depth} levels",
            )
    is_conv = isinstance(model, VAESpec | GANSpec) and isinstance(model.network, ConvSpec)
    if is_conv and not _divides(16, dataset):
        images = isinstance(dataset, ImagesSpec)
        yield Problem(
            ("model", "network"),
            "'conv' needs images whose height and width are multiples of 16, but observations of "
            f"data set {name!r} are {_shape(dataset)}"
            f"{' (its `pad`, `crop` and `size` change that)' if images else ''}",
        )


def _mitigation_problems(experiment: ExperimentSpec, dataset: Observations) -> Iterator[Problem]:
    mitigations: Sequence[Mitigation] = experiment.mitigations
    for (_, first), (place, second) in combinations(enumerate(mitigations), 2):
        if first.kind == second.kind and not first.repeatable:
            yield Problem(("mitigations", place, "kind"), f"{second.kind!r} is named twice")
        reason = first.not_with.get(second.kind) or second.not_with.get(first.kind)
        if reason is not None:
            yield Problem(
                ("mitigations", place, "kind"),
                f"{second.kind!r} does not go with {first.kind!r}: {reason}",
            )
    around = Surroundings(
        experiment.model,
        experiment.training,
        experiment.scoring.design,
        dataset,
        frozenset(mitigation.kind for mitigation in mitigations),
    )
    for place, mitigation in enumerate(mitigations):
        for key, message in (*_general(mitigation, around), *mitigation.problems(around)):
            yield Problem(("mitigations", place, key), message)


def _general(mitigation: Mitigation, around: Surroundings) -> Iterator[MitigationProblem]:
    """Find what the facts about a kind of mitigation speak against."""
    kind, model = mitigation.kind, around.model
    if mitigation.by_training_sets and around.design.kind == "leave-one-out":
        yield MitigationProblem(
            "kind",
            f"{kind!r} is for designs that train models: it changes which observations a model "
            "without one of them is trained on, or uses such models",
        )
    if mitigation.by_gradient and not model.by_gradient:
        yield MitigationProblem(
            "kind",
            f"{kind!r} changes the steps of training, but {model.kind!r} is fitted without any",
        )
    if kind == "early-stopping" and isinstance(model, GANSpec):
        yield MitigationProblem(
            "kind",
            f"{kind!r} needs a loss that falls when a model gets better; those of the two players "
            f"of {model.kind!r} are against each other",
        )
    if mitigation.for_vae and not isinstance(model, VAESpec):
        yield MitigationProblem("kind", f"{kind!r} is for models of kind 'vae', not {model.kind!r}")


def _design_problems(experiment: ExperimentSpec, count: int | None) -> Iterator[Problem]:
    path = ("scoring", "design")
    match experiment.scoring.design:
        case KFoldSpec(folds=folds) if count is not None and folds > count:
            yield Problem(
                (*path, "folds"),
                f"{folds} folds are more than the {count} observations of data set "
                f"{experiment.dataset!r}",
            )
        case LeaveOneOutSpec() if not experiment.model.leaves_one_out:
            yield Problem(
                (*path, "kind"),
                "'leave-one-out' is for densities whose value without each observation has a "
                "closed form: 'normal', and 'kde' with a bandwidth that is given or follows a "
                f"rule. {experiment.model.kind!r} must be refitted: 'k-fold' with `folds: "
                f"{count or 'n'}`, one for each observation, does that",
            )


def _extrapolation_problems(experiment: ExperimentSpec) -> Iterator[Problem]:
    design = experiment.scoring.design
    if not isinstance(design, KFoldSpec) or not design.extrapolate:
        return
    path = ("scoring", "design", "extrapolate")
    if experiment.scoring.aggregate == "paper":
        yield Problem(
            path,
            "is for scores by `aggregate: mean-log`: those by 'paper' move with the number of "
            "models too, and there are fewer of smaller training sets",
        )
    if any(mitigation.kind == "ensemble" for mitigation in experiment.mitigations):
        yield Problem(
            path,
            "does not go with 'ensemble': models without two folds are half as many, and make "
            "another ensemble",
        )


def _neighbor_problems(experiment: ExperimentSpec, dataset: Observations) -> Iterator[Problem]:
    path = ("scoring", "neighbors")
    spec, model, count = experiment.scoring.neighbors, experiment.model, dataset.observations
    if isinstance(spec.space, EncoderSpaceSpec) and not isinstance(model, VAESpec | CustomSpec):
        yield Problem(
            (*path, "space"),
            f"'encoder' needs a model that has one, 'vae', and {model.kind!r} has none",
        )
    if isinstance(spec.space, DownsampledSpaceSpec) and not _divides(2, dataset):
        yield Problem(
            (*path, "space"),
            "'downsampled' needs images of even height and width, but observations of data set "
            f"{experiment.dataset!r} are {_shape(dataset)}",
        )
    yield from _vision_problems((*path, "space"), spec.space, experiment.dataset, dataset)
    drawn, compared = experiment.scoring.samples.full_model, spec.samples
    if count is not None:
        compared = spec.sample_count(count)
    if drawn is not None and compared is not None and drawn < compared:
        yield Problem(
            ("scoring", "samples", "full_model"),
            f"{drawn} samples are fewer than the {compared} that `neighbors` compares with",
        )
    if count is not None and 2 * (spec.samples or 0) > count:
        yield Problem(
            (*path, "samples"),
            f"{spec.samples} samples are more than half of the {count} observations of data set "
            f"{experiment.dataset!r}, each of which is compared with as many others",
        )


def _sampled_likelihood_problems(
    experiment: ExperimentSpec, dataset: Observations
) -> Iterator[Problem]:
    """Find what speaks against log p from samples, or for it where a model has nothing else."""
    likelihood, model = experiment.scoring.likelihood, experiment.model
    path = ("scoring", "likelihood")
    if not isinstance(likelihood, SampledLikelihoodSpec):
        if isinstance(model, GANSpec):
            yield Problem(
                path,
                f"{model.kind!r} has samples and no log p(x), which is estimated from them with "
                "{kind: samples}",
            )
        return
    space = likelihood.space
    if isinstance(experiment.scoring.design, LeaveOneOutSpec):
        yield Problem(
            (*path, "kind"),
            "'samples' is for designs that train models: 'leave-one-out' has log p without each "
            "observation in closed form",
        )
    if isinstance(space, ValuesSpaceSpec) and model.support == "levels":
        yield Problem(
            (*path, "space"),
            "'values' is for real numbers, binary pixels and a table's columns, not for integer "
            "levels: take 'pixels', `{kind: principal}` or a space of your own",
        )
    categories = model.support == "binary" and isinstance(space, ValuesSpaceSpec)
    if likelihood.estimator != "kernel" and categories:
        yield Problem(
            (*path, "estimator"),
            f"{likelihood.estimator!r} is for real numbers, and binary pixels are none; take "
            "'kernel', or a space of numbers",
        )
    if isinstance(space, EncoderSpaceSpec) and not isinstance(model, VAESpec | CustomSpec):
        yield Problem(
            (*path, "space"),
            f"'encoder' needs a model that has one, 'vae', and {model.kind!r} has none",
        )
    if isinstance(space, DownsampledSpaceSpec) and not _divides(2, dataset):
        yield Problem(
            (*path, "space"),
            "'downsampled' needs images of even height and width, but observations of data set "
            f"{experiment.dataset!r} are {_shape(dataset)}",
        )
    yield from _vision_problems((*path, "space"), space, experiment.dataset, dataset)
    for place, mitigation in enumerate(experiment.mitigations):
        if mitigation.kind == "background" and not isinstance(space, ValuesSpaceSpec):
            yield Problem(
                ("mitigations", place, "kind"),
                "'background' adds a density of the values, which is none in the space of "
                f"scoring.likelihood, {space.kind!r}",
            )


def _vision_problems(
    path: tuple[str, ...], space: Spec, name: str, dataset: Observations
) -> Iterator[Problem]:
    """Find what speaks against features of a network for images."""
    images = isinstance(dataset, ImagesSpec) or len(dataset.shape or ()) == 3
    if isinstance(space, VisionSpaceSpec) and not images:
        yield Problem(
            path,
            "'torchvision' is for grey and colour images, but observations of data set "
            f"{name!r} are {_shape(dataset)}",
        )


def _divides(divisor: int, dataset: Observations) -> bool:
    """True of images whose height and width are multiples of it, or are not known yet."""
    shape = dataset.shape
    if shape is None:
        return isinstance(dataset, ImagesSpec)
    return len(shape) == 3 and not (shape[1] % divisor or shape[2] % divisor)


def _shape(dataset: Observations) -> str:
    return "records" if dataset.shape is None else " x ".join(map(str, dataset.shape))
