"""log p of every observation under every density that enters an experiment's scores."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import nn

from memo.artifacts.fingerprints import SCORING_VERSION, fingerprint
from memo.datasets.rows import Rows
from memo.design.k_fold import IndexArray
from memo.design.seeds import Stream, seed_sequence, torch_seed
from memo.errors import InputError, WorkError
from memo.execution.protocol import Executor, Lazy
from memo.experiments.experiment import Experiment, ModelPlan
from memo.likelihood.estimate import (
    draws_of_its_own,
    estimate_log_likelihood,
    left_out_log_likelihood,
)
from memo.likelihood.importance_weights import LogLikelihood, concatenate
from memo.models.protocols import FitError
from memo.models.resolution import (
    LogDensityError,
    ResolutionError,
    precision_of,
    require_resolved,
)
from memo.models.state import loaded_model
from memo.spec.model_specs import ModelSpec, source_of
from memo.spec.scoring_specs import AdaptiveSpec, LikelihoodSpec
from memo.spec.user_code import errors_of
from memo.training.device import default_device, one_thread
from memo.training.stack import Weights

CHUNK = 8192
"""About as many observations are in memory at a time."""


@dataclass(frozen=True)
class ScoredDensity:
    """The density of one model; or what it would be without each observation in turn."""

    name: str
    """Name of its table: the model's, or `left-out`."""
    model: ModelPlan
    held_out: IndexArray
    """Indices of observations that it was not trained on."""
    block: int | None
    """Densities that the jackknife leaves out together; None where nothing is drawn at random."""
    position: tuple[int, ...]
    """Keys the estimator's random draws."""
    left_out: bool = False
    """True where each observation has the density of a fit to all others, in closed form."""

    def fingerprint(self, experiment: Experiment) -> str:
        """A hash of everything that determines its log-likelihoods."""
        of_model = self.model.fingerprint
        scoring = experiment.spec.scoring
        return fingerprint(
            {
                "fold": fingerprint({"left out of": of_model}) if self.left_out else of_model,
                "epochs": scoring.epochs,
                "likelihood": scoring.likelihood.model_dump(),
                "version": SCORING_VERSION,
            }
        )


def scored_densities(experiment: Experiment) -> list[ScoredDensity]:
    """Every density that enters an experiment's scores: by the design, none of a smaller size."""
    if experiment.design.closed_form:
        full, everything = experiment.full_model, np.arange(len(experiment.data))
        return [
            ScoredDensity("full", full, everything[:0], None, ()),
            ScoredDensity("left-out", full, everything, None, (), left_out=True),
        ]
    return _of_models(experiment.models)


def smaller_densities(experiment: Experiment) -> list[ScoredDensity]:
    """Densities of models of smaller training sets, which scores are extrapolated from."""
    return _of_models(experiment.smaller_models)


def _of_models(models: Sequence[ModelPlan]) -> list[ScoredDensity]:
    return [
        ScoredDensity(
            model.name, model, fold.held_out, fold.block, position=(fold.repeat, fold.fold)
        )
        for model in models
        if (fold := model.fold) is not None
    ]


def estimate_log_likelihoods(
    experiment: Experiment,
    densities: Sequence[ScoredDensity],
    weights_of: Callable[[ModelPlan], Mapping[int, Weights]],
    executor: Executor,
) -> Generator[tuple[ScoredDensity, pl.DataFrame], None, None]:
    """Estimate log p of all observations, and yield one table for each density as it is done.

    Args:
        experiment: What is scored.
        densities: Those of `scored_densities` and `smaller_densities` that are wanted.
        weights_of: Gives a model's weights at each scored epoch, when they are about to be used.
        executor: Where tasks run.

    Yields:
        Densities with their tables: one row for each scored epoch and observation, in that order,
        columns as in `memo.artifacts.tables.LOG_LIKELIHOODS`; nats, in the space of the original
        values.

    Raises:
        WorkError: There is no density without one of the observations, or log p has too few digits.
    """
    if not densities:
        return
    common = draws_of_its_own(experiment.blank_model)
    tasks = Lazy(partial(_task, experiment, weights_of, common), densities)
    names = [f"experiment {experiment.name}, scores by {d.model.words}" for d in densities]
    scoring, data = experiment.spec.scoring, experiment.data
    shared = _Shared(experiment.spec.model, scoring.likelihood, data.scored)
    with closing(executor.run(_estimate, shared, tasks, names)) as results:
        for position, estimates in results:
            density = densities[position]
            if isinstance(estimates, FitError):
                raise WorkError(f"experiment {experiment.name}: {estimates}")
            if isinstance(estimates, LogDensityError):
                raise _named(experiment, density, estimates)
            yield density, _table(experiment, density, estimates)


def observations_at(scored: Rows, rows: IndexArray, device: torch.device) -> torch.Tensor:
    """Rows of the scored values on a device, float32."""
    return torch.from_numpy(np.array(scored[rows])).to(device, torch.float32)


@dataclass(frozen=True)
class _Shared:
    model: ModelSpec
    likelihood: LikelihoodSpec
    scored: Rows


@dataclass(frozen=True)
class _Task:
    weights: Mapping[int, Weights]
    seeds: dict[int, int]
    left_out: bool


def _task(
    experiment: Experiment,
    weights_of: Callable[[ModelPlan], Mapping[int, Weights]],
    common: bool,
    density: ScoredDensity,
) -> _Task:
    """Make the task; with `common`, draws are the same for every density and epoch."""
    weights = weights_of(density.model)
    seeds = {
        epoch: torch_seed(
            seed_sequence(
                experiment.spec.seed,
                Stream.LIKELIHOOD,
                *(() if common else (*density.position, epoch)),
            )
        )
        for epoch in weights
    }
    return _Task(weights, seeds, density.left_out)


Outcome: TypeAlias = dict[int, LogLikelihood] | FitError | LogDensityError


def _estimate(shared: _Shared, task: _Task) -> Outcome:
    device = default_device()
    everything = np.arange(len(shared.scored))
    estimates = {}
    for epoch, weights in task.weights.items():
        model = loaded_model(weights, shared.model, shared.scored.shape[1:]).to(device)
        try:
            with one_thread(), errors_of(source_of(shared.model), "what gives log p(x)"):
                estimates[epoch] = (
                    left_out_log_likelihood(
                        model,
                        observations_at(shared.scored, everything, device),
                        coarsest(shared.likelihood),
                    )
                    if task.left_out
                    else _in_chunks(shared, model, task.seeds[epoch], device)
                )
        except FitError as error:
            return error
        except LogDensityError as error:
            return LogDensityError(f"epoch {epoch}: {error}")
    return estimates


def coarsest(likelihood: LikelihoodSpec) -> float:
    """Nats that neighbouring numbers may lie apart: the tolerance, or its default where none is."""
    tolerance = likelihood.tolerance
    return tolerance if math.isfinite(tolerance) else AdaptiveSpec(kind="adaptive").tolerance


def require_digits(what: str, log_p: torch.Tensor) -> None:
    """See that log-likelihoods of models that were trained elsewhere have digits enough.

    Args:
        what: Name in messages.
        log_p: Nats, as they were given, or in float64.

    Raises:
        InputError: They have fewer than 32 bits, or numbers of that size lie too far apart.
    """
    floats = log_p if log_p.is_floating_point() else log_p.double()
    values = floats.double().numpy()
    try:
        dtype = precision_of(floats, among=[torch.float32])
        require_resolved(values, dtype, coarsest(AdaptiveSpec(kind="adaptive")))
    except ResolutionError as error:
        raise InputError(f"{what}: {error}") from None


def _named(
    experiment: Experiment, density: ScoredDensity, error: LogDensityError
) -> LogDensityError:
    return LogDensityError(f"experiment {experiment.name}, {density.model.words}, {error}")


def _in_chunks(shared: _Shared, model: nn.Module, seed: int, device: torch.device) -> LogLikelihood:
    """Estimate without all observations in memory at once."""
    chunks = np.array_split(np.arange(len(shared.scored)), -(-len(shared.scored) // CHUNK))
    seeds = np.random.SeedSequence(seed).spawn(len(chunks))
    return concatenate(
        [
            estimate_log_likelihood(
                model,
                observations_at(shared.scored, rows, device),
                shared.likelihood,
                torch_seed(own),
                coarsest(shared.likelihood),
            )
            for rows, own in zip(chunks, seeds, strict=True)
        ]
    )


def _require_finite(
    experiment: Experiment, density: ScoredDensity, epoch: int, values: NDArray[np.float64]
) -> None:
    """See that each observation has a log p, without which it has no score."""
    wrong = np.flatnonzero(~np.isfinite(values))
    if not len(wrong):
        return
    first = wrong[0]
    side = "held out" if first in density.held_out else "in training"
    raise WorkError(
        f"experiment {experiment.name}, {density.model.words}, epoch {epoch}: log p of "
        f"{len(wrong)} of {len(values)} observations is no finite number, as {values[first]:g} of "
        f"observation {first}, {side}: a density must be positive wherever a record may lie (wider "
        "support, a floor of its variance, a broad component)"
    )


def _table(
    experiment: Experiment, density: ScoredDensity, estimates: dict[int, LogLikelihood]
) -> pl.DataFrame:
    index = np.arange(len(experiment.data))
    likelihood = experiment.spec.scoring.likelihood
    tolerance = likelihood.tolerance
    original = {e: experiment.data.to_original(own.value) for e, own in estimates.items()}
    for epoch, values in original.items():
        _require_finite(experiment, density, epoch, values)
        try:
            require_resolved(values, torch.float64, coarsest(likelihood))
        except ResolutionError as error:
            where = LogDensityError(f"epoch {epoch}: {error}")
            raise _named(experiment, density, where) from None
    return pl.concat(
        pl.DataFrame(
            {
                "index": index,
                "epoch": np.full(len(index), epoch),
                "held_out": np.isin(index, density.held_out),
                "log_likelihood": original[epoch],
                "std_error": estimate.std_error,
                "effective_sample_size": estimate.effective_sample_size,
                "samples": estimate.samples,
                "pareto_k": estimate.pareto_k,
                "unreliable": estimate.unreliable(tolerance),
            }
        )
        for epoch, estimate in sorted(estimates.items())
    )
