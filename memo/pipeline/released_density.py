"""The density that is released, where mitigations make it another one than a single model's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from memo.design.k_fold import IndexArray
from memo.experiments.experiment import Experiment
from memo.mitigations.specs import BackgroundSpec
from memo.models.frequencies import Frequencies
from memo.models.kde import KDE
from memo.models.normal import Normal
from memo.scores.aggregate import Aggregate, memorization_scores
from memo.scores.released import ensemble_scores, fitted_weight, mixed_log_likelihood, mixture_bound
from memo.spec.model_specs import KDESpec, NormalSpec
from memo.spec.scoring_specs import KFoldSpec
from memo.training.device import one_thread

__all__ = ["Released", "background_log_likelihoods", "released_scores"]


@dataclass(frozen=True)
class Released:
    """Scores of what is released, and of a mixture its weight and its largest bound."""

    scores: Aggregate
    weight: float | None = None
    largest_bound: float | None = None
    """No observation's score can be above its bound; this is the largest of them, nats."""


def released_scores(
    experiment: Experiment,
    log_likelihood: NDArray[np.float64],
    std_error: NDArray[np.float64],
    held_out: NDArray[np.bool_],
    block: NDArray[np.int64] | None,
    background: NDArray[np.float64] | None,
) -> Released:
    """Scores of the mixture with a broad density, of the mean of an ensemble, of both or neither.

    Args:
        experiment: Which of them.
        log_likelihood: Of each model, (models, n), nats.
        std_error: Of each log-likelihood, (models, n).
        held_out: Which observations each model had held out, (models, n).
        block: Jackknife block of each model, (models,).
        background: Of the broad density, (models, n), nats.
    """
    method = experiment.spec.scoring.aggregate
    weight = None
    if background is not None:
        weight = _weight(_background(experiment), log_likelihood, background, held_out)
        log_likelihood, std_error = mixed_log_likelihood(
            log_likelihood, std_error, background, weight
        )
    scores = memorization_scores(log_likelihood, std_error, ~held_out, block, method)
    bound = None
    if background is not None and weight is not None:
        exact = np.zeros_like(background)
        alone = memorization_scores(background, exact, ~held_out, block, method)
        bound = float(mixture_bound(scores, alone, weight).max())
    design = experiment.spec.scoring.design
    ensemble = any(mitigation.kind == "ensemble" for mitigation in experiment.spec.mitigations)
    if ensemble and isinstance(design, KFoldSpec):
        scores = ensemble_scores(scores, log_likelihood, ~held_out, design.folds)
    return Released(scores, weight, bound)


def background_log_likelihoods(
    experiment: Experiment, held_out: Sequence[IndexArray]
) -> NDArray[np.float64] | None:
    """log b(x) of every observation, b fitted to each model's training set: (models, n) nats.

    None where nothing is mixed.
    """
    spec = _background(experiment)
    if spec is None:
        return None
    x = torch.from_numpy(np.array(experiment.data.scored[:])).to(torch.float32)
    jacobian = experiment.data.log_jacobian
    rows = []
    with one_thread(), torch.no_grad():
        for index in held_out:
            density = _density(spec, experiment)
            density.fit(x[torch.from_numpy(experiment.training_members(index))])
            rows.append(density.log_prob(x).numpy() + (0.0 if jacobian is None else jacobian))
    return np.stack(rows)


def _background(experiment: Experiment) -> BackgroundSpec | None:
    found = (m for m in experiment.spec.mitigations if isinstance(m, BackgroundSpec))
    return next(found, None)


def _density(spec: BackgroundSpec, experiment: Experiment) -> Frequencies | Normal | KDE:
    shape = experiment.data.shape
    match spec.density:
        case "frequencies":
            return Frequencies(shape, experiment.data.white + 1)
        case "normal":
            return Normal(NormalSpec(kind="normal", ridge=spec.ridge), shape)
        case "kde":
            return KDE(KDESpec(kind="kde"), shape)


def _weight(
    spec: BackgroundSpec | None,
    log_likelihood: NDArray[np.float64],
    background: NDArray[np.float64],
    held_out: NDArray[np.bool_],
) -> float:
    assert spec is not None
    if spec.weight == "fitted":
        return fitted_weight(log_likelihood, background, held_out)
    return float(spec.weight)
