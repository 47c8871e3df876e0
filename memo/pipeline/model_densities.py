"""Densities of an experiment's models, and of models trained like them, at some places."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import nn

from memo.artifacts.model_files import fold_file, full_model_file
from memo.design.k_fold import FoldModel, IndexArray
from memo.design.seeds import torch_seed
from memo.likelihood.estimate import estimate_log_likelihood
from memo.mitigations.training_plan import training_plan
from memo.models.build import build_model
from memo.models.protocols import Density, FitError, Fitted
from memo.pipeline.experiment import Experiment
from memo.pipeline.weights import loaded_model
from memo.report.page_data import Overfitted
from memo.spec.model_specs import source_of
from memo.spec.user_code import errors_of
from memo.training.device import default_device, one_thread
from memo.training.fit import fit_model
from memo.training.loop import TrainingError, TrainingSet, train_stack
from memo.training.stack import Weights

__all__ = ["ModelDensities"]

FloatArray = NDArray[np.float64]

MOST_MODELS = 5
"""Fold models averaged on either side."""


class ModelDensities:
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
