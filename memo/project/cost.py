"""The cost of an experiment, from its spec alone: models, their size, and bounds on both."""

import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import prod
from typing import NamedTuple

from memo.project.experiment_spec import ExperimentSpec
from memo.spec.dataset_specs import ArraySpec, DatasetSpec, ImagesSpec, SyntheticSpec
from memo.spec.model_specs import (
    ConvSpec,
    FlowSpec,
    GANSpec,
    GaussianMixtureSpec,
    LogisticMixtureSpec,
    MLPSpec,
    ModelSpec,
    NormalSpec,
    VAESpec,
)
from memo.spec.scoring_specs import ImportanceSpec, KFoldSpec, SubsetsSpec

MOST_MODELS = 1_000_000
MOST_PARAMETERS = 100_000_000_000
MOST_EPOCHS = 10_000_000
MOST_SAMPLES = 100_000_000
MOST_PIXELS = 10_000
"""No machine that memo runs on has room for more, and a typing error is likelier."""

TRAINING_BYTES = 16
"""Bytes of a parameter in training: its value, its gradient, and Adam's two moments."""

STORED_BYTES = 4


class Excess(NamedTuple):
    """A number that nothing has room for."""

    path: tuple[str | int, ...]
    """Keys from the experiment or data set to the number."""
    message: str


class Cost(NamedTuple):
    """The cost of training an experiment."""

    models: int
    """Those without a part of the observations, and the full one."""
    parameters: int | None
    """Parameters of one model, roughly; None for a model of the user's own, or one without any."""
    at_least: bool
    """True where the size of an observation is unknown before the data set is prepared."""
    stored: int
    """Bytes of all models' weights, at each scored epoch."""
    memory: int
    """Bytes that the training of one model takes, beside its data."""

    @property
    def words(self) -> str:
        """The cost for people, in a line."""
        models = f"{self.models:,} model{'s' * (self.models != 1)}"
        if self.parameters is None:
            return models
        least = "at least " if self.at_least else "about "
        return (
            f"{models} of {least}{self.parameters:,} parameters each; {least}"
            f"{size_words(self.stored)} on disk, and {size_words(self.memory)} of memory for each "
            "that is trained at a time"
        )


def cost_of(experiment: ExperimentSpec, shape: Sequence[int] | None) -> Cost:
    """Estimate what an experiment costs.

    Args:
        experiment: The experiment.
        shape: Shape of an observation; None where that is unknown as yet.

    Example:
        >>> from memo.spec.model_specs import NormalSpec
        >>> parameters(NormalSpec(kind="normal"), 3)  # a mean and a covariance
        12
    """
    count = 1 + trained_beside(experiment)
    size = parameters(experiment.model, 1 if shape is None else prod(shape))
    if size is None:
        return Cost(count, None, False, 0, 0)
    stored = size * STORED_BYTES * count * len(experiment.scoring.epochs)
    return Cost(count, size, shape is None, stored, size * TRAINING_BYTES)


def machine_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def trained_beside(experiment: ExperimentSpec) -> int:
    """Number of models that are trained beside the full one."""
    match experiment.scoring.design:
        case KFoldSpec() as design:
            return (design.folds + design.smaller_models) * design.repeats
        case SubsetsSpec() as design:
            return design.models
        case _:
            return 0


def parameters(model: ModelSpec, values: int) -> int | None:
    """Number of parameters for observations of so many values, roughly; None if unknown."""
    match model:
        case VAESpec():
            outputs = values
            if isinstance(model.observation, LogisticMixtureSpec):
                outputs *= model.observation.components * 3
            return _network(model.network, values, model.latent, outputs)
        case GANSpec():
            players = _network(model.network, values, model.latent, values)
            return players + players // 2  # with the generator's running mean
        case FlowSpec():
            return model.transforms * _layers([values, *model.hidden, 2 * values])
        case NormalSpec():
            return values + values**2
        case GaussianMixtureSpec():
            return model.components * (1 + values + values**2)
        case _:
            return None


def excesses(experiment: ExperimentSpec, dataset: DatasetSpec | ArraySpec) -> Iterator[Excess]:
    """Find the numbers of an experiment that no machine has room for."""
    design = ("scoring", "design")
    yield from _beyond(design, trained_beside(experiment), MOST_MODELS, "models")
    size = parameters(experiment.model, prod(dataset.shape or (1,)))
    yield from _beyond(("model",), size or 0, MOST_PARAMETERS, "parameters of a model")
    yield from _beyond(("training", "epochs"), experiment.training.epochs, MOST_EPOCHS, "epochs")
    scoring = experiment.scoring
    likelihood = scoring.likelihood
    of_each = (
        likelihood.samples if isinstance(likelihood, ImportanceSpec) else likelihood.max_samples
    )
    for path, count in (
        (("scoring", "likelihood"), of_each),
        (("scoring", "samples", "full_model"), scoring.samples.full_model),
        (("scoring", "samples", "fold_models"), scoring.samples.fold_models),
        (("scoring", "neighbors", "samples"), scoring.neighbors.samples),
    ):
        yield from _beyond(path, count or 0, MOST_SAMPLES, "samples")


def dataset_excesses(dataset: DatasetSpec) -> Iterator[Excess]:
    """Find the numbers of a data set that no machine has room for."""
    if isinstance(dataset, ImagesSpec):
        side = (dataset.size or dataset.crop or 1) + 2 * dataset.pad
        yield from _beyond((), side, MOST_PIXELS, "pixels on a side")
    if isinstance(dataset, SyntheticSpec):
        count = dataset.count + dataset.outliers + dataset.duplicates
        yield from _beyond(("count",), count, MOST_SAMPLES, "observations")


def _beyond(path: tuple[str, ...], found: int, most: int, what: str) -> Iterator[Excess]:
    if found > most:
        yield Excess(path, f"asks for {found:,} {what}; at most {most:,} are possible")


def _network(network: MLPSpec | ConvSpec, values: int, latent: int, outputs: int) -> int:
    if isinstance(network, MLPSpec):
        encoder = _layers([values, *network.hidden, 2 * latent])
        return encoder + _layers([latent, *reversed(network.hidden), outputs])
    # Kernels of 4 x 4 between 1, 2, 4 and 8 times as many channels, there and back.
    kernels = 2 * 16 * network.features**2 * (2 + 8 + 32)
    ends = 3 * latent * 8 * network.features * max(1, values // (3 * 16 * 16))
    return kernels + ends


def _layers(widths: Sequence[int]) -> int:
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))


def size_words(count: int) -> str:
    """A number of bytes for people."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.0f} PB"
