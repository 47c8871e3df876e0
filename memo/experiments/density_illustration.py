"""Densities with and without one observation on a grid, where observations are that small."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray

from memo.datasets.tabular.columns import Column, in_own_units, log_jacobian
from memo.design.k_fold import IndexArray
from memo.design.seeds import Stream, seed_sequence, substreams, torch_seed
from memo.experiments.experiment import Experiment, ModelPlan
from memo.experiments.model_training import train_or_fit
from memo.likelihood.estimate import estimate_log_likelihood
from memo.mitigations.training_plan import training_plan
from memo.models.protocols import Density, FitError
from memo.models.state import loaded_model
from memo.report.page_data import Illustration, Overfitted
from memo.scores.table import Scores
from memo.spec.model_specs import source_of
from memo.spec.sampled_likelihood_specs import SampledLikelihoodSpec
from memo.spec.user_code import errors_of
from memo.training.device import default_device, one_thread
from memo.training.loop import TrainingError, TrainingSet
from memo.training.stack import Weights

FloatArray = NDArray[np.float64]
WeightsOf = Callable[[ModelPlan], Mapping[int, Weights]]

GRID = {1: 300, 2: 56}
"""Points along each axis, by the number of axes."""
MARGIN = 0.15
"""Share of the observations' range that the grid goes beyond them."""
FEWEST, MOST, ONE_OF = 8, 200, 20
"""The overfitted density sees one observation in 20, but no fewer or more than so many."""
SHOWN = 1000
"""Observations drawn into the figure, beside the one that it is about."""
MOST_MODELS = 5
"""Fold models averaged on either side."""


def is_illustrated(experiment: Experiment) -> bool:
    """True where observations are one or two real numbers, and log p comes from the model."""
    if isinstance(experiment.spec.scoring.likelihood, SampledLikelihoodSpec):
        return False
    table = experiment.data.columns
    if prod(experiment.data.shape) not in GRID:
        return False
    if table is None:
        return experiment.spec.model.support == "continuous"
    return all(column.categories is None for column in table)


def illustrate(
    experiment: Experiment, scores: Scores, weights_of: WeightsOf
) -> Illustration | None:
    """Show memorization of the most memorized observation, beside overfitting to a few.

    With and without: the mean density of equally many fold models that had the observation and that
    held it out; in a closed form the full model's and a refit's. Overfitted: the same training on
    few observations, for as many steps.

    Args:
        experiment: A trained one.
        scores: Its scores; the last scored epoch is illustrated.
        weights_of: Gives a model's weights at each scored epoch.

    Returns:
        Densities on a grid and at observations, in the space of the original values; None where
        observations are not one or two real numbers.
    """
    if not is_illustrated(experiment):
        return None
    columns = prod(experiment.data.shape)
    trained_on = experiment.full_model.members
    most = next(row for row in scores.ranked.iter_rows(named=True) if row["index"] in trained_on)
    choice, training, likelihood = substreams(
        seed_sequence(experiment.spec.seed, Stream.ILLUSTRATION), 3
    )
    others = np.random.Generator(np.random.PCG64(choice)).permutation(
        trained_on[trained_on != most["index"]]
    )
    few = others[: min(MOST, max(FEWEST, len(others) // ONE_OF))]
    rows = np.array(experiment.data.scored[:], np.float64).reshape(-1, columns)
    points = rows[np.concatenate([[most["index"]], others[:SHOWN]])]
    axes = [_axis(column, GRID[columns]) for column in rows.T]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, columns)
    densities = _Densities(
        experiment, weights_of, np.concatenate([grid, points]), training, likelihood
    )
    inside, outside, models = densities.with_and_without(most["index"])
    illustration = Illustration(
        axes=axes,
        points=points,
        name=most["id"],
        log_p_with=inside,
        log_p_without=outside,
        models=models,
        estimated=not isinstance(experiment.blank_model, Density),
        overfitted=densities.overfitted(few),
    )
    table = experiment.data.columns
    return illustration if table is None else _in_own_units(illustration, table)


def _in_own_units(shown: Illustration, columns: Sequence[Column]) -> Illustration:
    """Convert to the units that a table's numbers had before they were standardized."""
    change = log_jacobian(columns)
    few = shown.overfitted
    return replace(
        shown,
        axes=[c.in_own_units(axis) for c, axis in zip(columns, shown.axes, strict=True)],
        points=in_own_units(columns, shown.points),
        log_p_with=shown.log_p_with + change,
        log_p_without=shown.log_p_without + change,
        overfitted=few if isinstance(few, str) else replace(few, log_p=few.log_p + change),
        titles=[column.name for column in columns],
    )


def _axis(values: FloatArray, count: int) -> FloatArray:
    margin = MARGIN * np.ptp(values)
    return np.linspace(values.min() - margin, values.max() + margin, count)


@dataclass(frozen=True)
class _Densities:
    """Log densities of an experiment's models, and of models trained like them, at some places.

    Args:
        experiment: The experiment.
        weights_of: Gives a model's weights at each scored epoch.
        at: (places, columns), in the space of the model's values.
        training: Seeds the models that are trained for the figure alone.
        likelihood: Seeds the estimator where log p has no closed form.
    """

    experiment: Experiment
    weights_of: WeightsOf
    at: FloatArray
    training: np.random.SeedSequence
    likelihood: np.random.SeedSequence

    def with_and_without(self, index: int) -> tuple[FloatArray, FloatArray, int]:
        """log p of models with and without an observation; and of how many on either side."""
        experiment = self.experiment
        if experiment.design.closed_form:
            others = np.delete(np.arange(len(experiment.data)), index)
            return self._of_models([experiment.full_model]), self._trained_on(others), 1
        models = [model for model in experiment.models if model.fold is not None]
        without = [model for model in models if index in model.held_out]
        having = [model for model in models if index in model.members]
        count = min(len(without), len(having), MOST_MODELS)
        chosen = having[:: len(having) // count][:count]
        return self._of_models(chosen), self._of_models(without[:count]), count

    def overfitted(self, few: IndexArray) -> Overfitted | str:
        """The density that the same training makes of few observations, or why there is none."""
        try:
            return Overfitted(len(few), self._trained_on(few))
        except (TrainingError, FitError) as error:
            return str(error)

    def _of_models(self, models: Sequence[ModelPlan]) -> FloatArray:
        epoch = self.experiment.last_epoch
        each = [self._log_p(self.weights_of(model)[epoch]) for model in models]
        return np.asarray(scipy.special.logsumexp(each, axis=0) - np.log(len(each)))

    def _log_p(self, weights: Weights) -> FloatArray:
        spec, shape, device = self.experiment.spec, self.experiment.data.shape, default_device()
        model = loaded_model(weights, spec.model, shape).to(device)
        places = torch.from_numpy(self.at.reshape(-1, *shape)).to(device, torch.float32)
        assert not isinstance(spec.scoring.likelihood, SampledLikelihoodSpec)
        with one_thread(), errors_of(source_of(spec.model), "what gives log p(x)"):
            return estimate_log_likelihood(
                model, places, spec.scoring.likelihood, torch_seed(self.likelihood)
            ).value

    def _trained_on(self, members: IndexArray) -> FloatArray:
        """log p of the experiment's model after as many steps on these observations alone."""
        experiment, spec = self.experiment, self.experiment.spec
        others = np.setdiff1d(np.arange(len(experiment.data)), members, assume_unique=True)
        plan = training_plan(spec.training, spec.mitigations)
        steps = -(-len(experiment.data) // plan.batch_size) * experiment.last_epoch
        epochs = max(1, steps // -(-len(members) // plan.batch_size))
        with one_thread(), errors_of(source_of(spec.model), "what trains it"):
            (trained,) = train_or_fit(
                spec.model,
                replace(plan, epochs=epochs),
                experiment.data,
                [TrainingSet(members, others, self.training, self.training)],
                [epochs],
            )
        return self._log_p(trained.weights[epochs])


def illustration_arrays(
    shown: Illustration | None,
) -> tuple[dict[str, FloatArray], dict[str, Any]]:
    """Take an illustration apart into arrays and JSON facts; no arrays where there is none."""
    if shown is None:
        return {}, {}
    arrays = {f"axis-{place}": axis for place, axis in enumerate(shown.axes)}
    arrays |= {name: getattr(shown, name) for name in ("points", "log_p_with", "log_p_without")}
    facts: dict[str, Any] = {
        name: getattr(shown, name) for name in ("name", "models", "estimated", "titles")
    }
    if isinstance(shown.overfitted, str):
        facts["not_overfitted"] = shown.overfitted
    else:
        arrays["log_p_overfitted"] = shown.overfitted.log_p
        facts["overfitted"] = shown.overfitted.count
    return arrays, facts


def illustration_of(
    arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]
) -> Illustration | None:
    """Put together what `illustration_arrays` took apart.

    Raises:
        ValueError: Arrays or facts are not an illustration's.
    """
    if not arrays:
        return None
    try:
        axes = [arrays[f"axis-{place}"] for place in range(len(arrays["points"].T))]
        grid, points = prod(map(len, axes)), arrays["points"]
        overfitted: Overfitted | str = (
            str(facts["not_overfitted"])
            if "not_overfitted" in facts
            else Overfitted(int(facts["overfitted"]), arrays["log_p_overfitted"])
        )
        shown = Illustration(
            axes=axes,
            points=points,
            name=str(facts["name"]),
            log_p_with=arrays["log_p_with"],
            log_p_without=arrays["log_p_without"],
            models=int(facts["models"]),
            overfitted=overfitted,
            estimated=bool(facts["estimated"]),
            titles=facts["titles"] and [str(title) for title in facts["titles"]],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an illustration: {error!r}") from None
    densities = [array for name, array in arrays.items() if name.startswith("log_p")]
    if len(axes) not in GRID or any(len(each) != grid + len(points) for each in densities):
        raise ValueError("its arrays do not fit each other")
    return shown
