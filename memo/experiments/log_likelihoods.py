"""log p of every observation under every density that enters an experiment's scores."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import nn

from memo.artifacts.fingerprints import SAMPLED_SCORING_VERSION, SCORING_VERSION, fingerprint
from memo.datasets.rows import Rows
from memo.design.k_fold import IndexArray
from memo.design.seeds import Stream, seed_sequence, torch_seed
from memo.errors import InputError, WorkError
from memo.execution.protocol import Executor, Lazy
from memo.experiments.experiment import Experiment, ModelPlan
from memo.experiments.sampled.feature_space import space_determinants
from memo.experiments.sampled.sampled_density import SampledDensities, sampled_densities
from memo.experiments.sampled.words import in_another_space
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
from memo.spec.sampled_likelihood_specs import SampledLikelihoodSpec
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
        determinants: dict[str, Any] = {
            "fold": fingerprint({"left out of": of_model}) if self.left_out else of_model,
            "epochs": scoring.epochs,
            "likelihood": scoring.likelihood.model_dump(),
            "version": SCORING_VERSION,
        }
        if isinstance(scoring.likelihood, SampledLikelihoodSpec):  # whose samples set bandwidths
            determinants["full"] = experiment.full_model.fingerprint
            determinants["estimator version"] = SAMPLED_SCORING_VERSION
            determinants |= space_determinants(scoring.likelihood.space)
        return fingerprint(determinants)


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
    tasks = Lazy(partial(_task, experiment, weights_of), densities)
    names = [f"experiment {experiment.name}, scores by {d.model.words}" for d in densities]
    model, likelihood = experiment.spec.model, experiment.spec.scoring.likelihood
    sampled = None
    if isinstance(likelihood, SampledLikelihoodSpec):
        sampled = _sampled_densities(experiment, likelihood, weights_of(experiment.full_model))
    shared = _Shared(model, likelihood, experiment.data.scored, sampled)
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
    sampled: SampledDensities | None
    """The estimator of densities from samples; None where the model's own log p is asked for."""


@dataclass(frozen=True)
class _Task:
    weights: Mapping[int, Weights]
    seeds: dict[int, int]
    left_out: bool


def _task(
    experiment: Experiment,
    weights_of: Callable[[ModelPlan], Mapping[int, Weights]],
    density: ScoredDensity,
) -> _Task:
    weights = weights_of(density.model)
    seeds = {
        epoch: torch_seed(
            seed_sequence(
                experiment.spec.seed, Stream.LIKELIHOOD, *_drawn_at(experiment, density, epoch)
            )
        )
        for epoch in weights
    }
    return _Task(weights, seeds, density.left_out)


def _drawn_at(experiment: Experiment, density: ScoredDensity, epoch: int) -> tuple[int, ...]:
    """Keys of a density's random draws: those of all models, of a company, or its own."""
    if isinstance(experiment.spec.scoring.likelihood, SampledLikelihoodSpec):
        return () if density.model.fold is None else (density.model.fold.company, epoch)
    return () if draws_of_its_own(experiment.blank_model) else (*density.position, epoch)


def _sampled_densities(
    experiment: Experiment, likelihood: SampledLikelihoodSpec, full: Mapping[int, Weights]
) -> SampledDensities:
    """Choose, once for all models, what densities from samples have in common."""
    spec, data = experiment.spec, experiment.data
    with one_thread(), errors_of(source_of(spec.model), "sample(count, generator)"):
        models = {
            epoch: loaded_model(full[epoch], spec.model, data.shape).to(default_device())
            for epoch in spec.scoring.epochs
        }
        seed = torch_seed(seed_sequence(spec.seed, Stream.LIKELIHOOD))
        weights = full[experiment.last_epoch]
        return sampled_densities(data, spec.model, likelihood, models, lambda: weights, seed)


Outcome: TypeAlias = dict[int, LogLikelihood] | FitError | LogDensityError


def _estimate(shared: _Shared, task: _Task) -> Outcome:
    device = default_device()
    everything = np.arange(len(shared.scored))
    estimates = {}
    for epoch, weights in task.weights.items():
        model = loaded_model(weights, shared.model, shared.scored.shape[1:]).to(device)
        try:
            with one_thread(), errors_of(source_of(shared.model), "what gives log p(x)"):
                if shared.sampled is not None:
                    seed = task.seeds[epoch]
                    estimates[epoch] = shared.sampled.log_likelihood(model, epoch, seed)
                elif task.left_out:
                    rows = observations_at(shared.scored, everything, device)
                    limit = coarsest(shared.likelihood)
                    estimates[epoch] = left_out_log_likelihood(model, rows, limit)
                else:
                    estimates[epoch] = _in_chunks(shared, model, task.seeds[epoch], device)
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
    assert not isinstance(shared.likelihood, SampledLikelihoodSpec)
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
    original = {
        epoch: own.value if in_another_space(likelihood) else experiment.data.to_original(own.value)
        for epoch, own in estimates.items()
    }
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
