"""Densities with and without one observation on a grid, where observations are that small."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import polars as pl
import scipy
import torch
from numpy.typing import NDArray
from torch import nn

from memo.code import errors_of
from memo.datasets import Column, log_jacobian
from memo.design import FoldModel, IndexArray, Stream, seed_sequence, substreams, torch_seed
from memo.likelihood import estimate_log_likelihood
from memo.models import Density, FitError, Fitted, build_model
from memo.report import Illustration, Overfitted
from memo.spec import source_of
from memo.stages.experiment import Experiment
from memo.stages.model_files import loaded_model
from memo.stages.train import fold_file, full_model_file
from memo.training import (
    TrainingError,
    TrainingSet,
    Weights,
    default_device,
    fit_model,
    one_thread,
    train_stack,
    training_plan,
)

__all__ = ["illustrate"]

FloatArray = NDArray[np.float64]

GRID = {1: 300, 2: 56}
"""Points along each axis, by the number of axes."""
MARGIN = 0.15
"""Share of the observations' range that the grid goes beyond them."""
MOST_MODELS = 5
"""Fold models averaged on either side."""
FEWEST, MOST, ONE_OF = 8, 200, 20
"""The overfitted density sees one observation in 20, but no fewer or more than so many."""
SHOWN = 1000
"""Observations drawn into the figure, beside the one that it is about."""


def illustrate(experiment: Experiment, scores: pl.DataFrame) -> Illustration | None:
    """Memorization of the most memorized observation, beside overfitting to a few of them.

    With and without: the mean density of equally many fold models that had the observation and that
    held it out; in a closed form the full model's and a refit's. Overfitted: the same training on
    few observations, for as many steps.

    Args:
        experiment: A trained one.
        scores: Its scores; the last scored epoch is illustrated.

    Returns:
        None where observations are not one or two real numbers.

    Raises:
        ArtifactError: A model's file is missing or damaged.
    """
    columns = prod(experiment.data.shape)
    if columns not in GRID or not _is_numeric(experiment):
        return None
    trained_on = experiment.training_members(np.empty(0, np.int64))
    ranked = scores.filter(
        (pl.col("epoch") == pl.col("epoch").max()) & pl.col("index").is_in(trained_on)
    ).sort("memorization", "index", descending=[True, False])
    row = ranked.row(0, named=True)
    choice, training, likelihood = substreams(
        seed_sequence(experiment.spec.seed, Stream.ILLUSTRATION), 3
    )
    others = np.random.Generator(np.random.PCG64(choice)).permutation(
        trained_on[trained_on != row["index"]]
    )
    rows = np.array(experiment.data.scored[:], np.float64).reshape(-1, columns)
    points = rows[np.concatenate([[row["index"]], others[:SHOWN]])]
    axes = [_axis(column, GRID[columns]) for column in rows.T]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, columns)
    densities = _Densities(experiment, np.concatenate([grid, points]), training, likelihood)
    inside, outside = densities.with_and_without(row["index"])
    illustration = Illustration(
        axes=axes,
        points=points,
        name=row["id"],
        log_p_with=inside,
        log_p_without=outside,
        models=densities.models,
        estimated=densities.estimated,
        overfitted=densities.overfitted(others[: min(MOST, max(FEWEST, len(others) // ONE_OF))]),
    )
    table = experiment.data.columns
    return illustration if table is None else _in_own_units(illustration, table)


def _is_numeric(experiment: Experiment) -> bool:
    table = experiment.data.columns
    if table is None:
        return experiment.spec.model.support == "continuous"
    return all(column.categories is None for column in table)


def _in_own_units(shown: Illustration, columns: Sequence[Column]) -> Illustration:
    """The same, of a table's numbers as they were before they were standardized."""
    mean, scale = (np.array([getattr(c, name) for c in columns]) for name in ("mean", "scale"))
    change = log_jacobian(columns)
    few = shown.overfitted
    return replace(
        shown,
        axes=[m + s * axis for m, s, axis in zip(mean, scale, shown.axes, strict=True)],
        points=mean + scale * shown.points,
        log_p_with=shown.log_p_with + change,
        log_p_without=shown.log_p_without + change,
        overfitted=few if isinstance(few, str) else replace(few, log_p=few.log_p + change),
        titles=[column.name for column in columns],
    )


def _axis(values: FloatArray, count: int) -> FloatArray:
    margin = MARGIN * np.ptp(values)
    return np.linspace(values.min() - margin, values.max() + margin, count)


class _Densities:
    """Log densities of an experiment's models at some places.

    Args:
        experiment: The experiment.
        at: (places, columns).
        training: Seeds the models that are trained for the figure alone.
        likelihood: Seeds the estimator where log p has no closed form.
    """

    models = 1
    """How many are averaged on either side."""

    def __init__(
        self,
        experiment: Experiment,
        at: FloatArray,
        training: np.random.SeedSequence,
        likelihood: np.random.SeedSequence,
    ) -> None:
        self._experiment = experiment
        self._epoch = experiment.spec.scoring.epochs[-1]
        self._device = default_device()
        places = at.reshape(-1, *experiment.data.shape)
        self._at = torch.from_numpy(places).to(self._device, torch.float32)
        self._training, self._likelihood = training, likelihood
        model = build_model(experiment.spec.model, experiment.data.shape)
        self.estimated = not isinstance(model, Density)

    def with_and_without(self, index: int) -> tuple[FloatArray, FloatArray]:
        """log p at the places of models with and without an observation."""
        experiment = self._experiment
        if experiment.design.closed_form:
            file = full_model_file(experiment)
            full = self._log_p(file.read().weights[self._epoch], file.path)
            others = np.delete(np.arange(len(experiment.data)), index)
            return full, self._log_p(self._trained_on(others), file.path)
        models = experiment.fold_models()
        without = [m for m in models if index in m.held_out]
        having = [m for m in models if index in experiment.training_members(m.held_out)]
        self.models = min(len(without), len(having), MOST_MODELS)
        step = len(having) // self.models
        return (
            self._mean_log_p(having[::step][: self.models]),
            self._mean_log_p(without[: self.models]),
        )

    def overfitted(self, few: IndexArray) -> Overfitted | str:
        """The density that the same training makes of few observations, or why there is none."""
        try:
            return Overfitted(len(few), self._log_p(self._trained_on(few), Path("overfitted")))
        except (TrainingError, FitError) as error:
            return str(error)

    def _mean_log_p(self, models: Sequence[FoldModel]) -> FloatArray:
        files = [fold_file(self._experiment, model) for model in models]
        each = [self._log_p(file.read().weights[self._epoch], file.path) for file in files]
        return np.asarray(scipy.special.logsumexp(each, axis=0) - np.log(len(each)))

    def _log_p(self, weights: Weights, file: Path) -> FloatArray:
        experiment = self._experiment
        model = loaded_model(weights, experiment.spec.model, experiment.data.shape, file)
        with one_thread(), errors_of(source_of(experiment.spec.model)):
            return estimate_log_likelihood(
                model.to(self._device),
                self._at,
                experiment.spec.scoring.likelihood,
                torch_seed(self._likelihood),
            ).value

    def _trained_on(self, members: IndexArray) -> Weights:
        experiment = self._experiment
        others = np.setdiff1d(np.arange(len(experiment.data)), members, assume_unique=True)
        training_set = TrainingSet(members, others, self._training)
        spec = experiment.spec
        model: nn.Module = build_model(spec.model, experiment.data.shape)
        with one_thread(), errors_of(source_of(spec.model)):
            if isinstance(model, Fitted):
                return fit_model(spec.model, experiment.data, training_set, [1]).weights[1]
            plan = training_plan(spec.training, spec.mitigations)
            steps = -(-len(experiment.data) // plan.batch_size) * self._epoch
            epochs = max(1, steps // -(-len(members) // plan.batch_size))
            (trained,) = train_stack(
                spec.model,
                replace(plan, epochs=epochs),
                experiment.data,
                [training_set],
                [epochs],
                self._device,
            )
        return trained.weights[epochs]
