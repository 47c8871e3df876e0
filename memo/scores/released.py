"""Scores of a density that is released in place of the models that were trained.

Both mitigations act on densities that are known: the models' log-likelihoods, and those of a broad
density fitted to each model's training set. With L repeats of K folds, p_lk the model trained
without fold k of repeat l, and U_i, V_i the logs of the mean densities with and without i:

Ensemble: what is released is e_l = mean_k p_lk. Of its K members, K - 1 were trained with i, and
one without; trained on the data without i, all K would be without. In the mean over training,

    log e(x_i | D) = log((1 - 1/K) exp U_i + 1/K exp V_i),    log e(x_i | D without i) = V_i,

so that M_i = log(1/K + (1 - 1/K) exp(U_i - V_i)), never below -log K.

Background: what is released is r_lk = (1 - w) p_lk + w b_lk, which is nowhere below w b_lk:

    M_i <= U_i(r) - log w - V_i(b),

whatever the model has memorized; and of discrete observations, whose probabilities are at most 1,
M_i <= -log w - V_i(b).
"""

from dataclasses import replace

import numpy as np
import scipy
from numpy.typing import NDArray

from memo.scores.aggregate import Aggregate, FloatArray, jackknife_std_error

__all__ = ["ensemble_scores", "fitted_weight", "mixed_log_likelihood", "mixture_bound"]

SMALLEST = 1e-6
"""Weight of the broad density that a fit does not go below, nor nearer to 1."""


def ensemble_scores(
    scores: Aggregate, log_likelihood: FloatArray, in_training: NDArray[np.bool_], members: int
) -> Aggregate:
    """Scores of the mean density of K models, from those of its members.

    `mean_log_likelihood_in` is that of each repeat's ensemble; `_out` that of the ensemble of the
    models that had the observation held out, one a repeat: with fewer than K repeats it has fewer
    members than the released one, and reads low.

    Args:
        scores: Those of single models.
        log_likelihood: (models, n), nats; K models of each repeat stand together.
        in_training: Which observations each model was trained on, (models, n).
        members: K.
    """
    share = 1 / members
    memorization = _diluted(scores.memorization, share)
    own = np.exp(np.log1p(-share) + scores.memorization - memorization)
    estimator = own * scores.estimator_std_error
    without = _diluted(scores.without_block, share)
    std_error = np.full_like(estimator, np.nan)
    if len(without):
        std_error = np.maximum(jackknife_std_error(without), estimator)
    repeats = log_likelihood.reshape(-1, members, log_likelihood.shape[1])
    held_out = np.where(in_training, -np.inf, log_likelihood)
    return replace(
        scores,
        log_p_in=scores.log_p_out + memorization,
        memorization=memorization,
        std_error=std_error,
        estimator_std_error=estimator,
        mean_log_likelihood_in=(scipy.special.logsumexp(repeats, axis=1) - np.log(members)).mean(0),
        mean_log_likelihood_out=scipy.special.logsumexp(held_out, axis=0)
        - np.log((~in_training).sum(0)),
        without_block=without,
    )


def mixed_log_likelihood(
    log_likelihood: FloatArray, std_error: FloatArray, background: FloatArray, weight: float
) -> tuple[FloatArray, FloatArray]:
    """log((1 - w) p + w b) and its standard error, by the delta method; all of one shape."""
    model, broad = np.log1p(-weight) + log_likelihood, np.log(weight) + background
    return np.logaddexp(model, broad), scipy.special.expit(model - broad) * std_error


def fitted_weight(
    log_likelihood: FloatArray, background: FloatArray, held_out: NDArray[np.bool_]
) -> float:
    """The weight of highest held-out likelihood; one number, fitted to all held-out pairs.

    Args:
        log_likelihood: (models, n).
        background: (models, n).
        held_out: Which pairs are, (models, n).
    """
    gain = (background - log_likelihood)[held_out]

    def loss(weight: float) -> float:
        return -float(np.logaddexp(np.log1p(-weight), np.log(weight) + gain).mean())

    found = scipy.optimize.minimize_scalar(
        loss, bounds=(SMALLEST, 1 - SMALLEST), method="bounded", options={"xatol": SMALLEST / 10}
    )
    return float(found.x)


def mixture_bound(scores: Aggregate, background: Aggregate, weight: float) -> FloatArray:
    """What no score of the mixture exceeds: U(r) - log w - V(b), (n,) nats.

    Args:
        scores: Of the mixture.
        background: Of the broad density by itself, aggregated in the same way.
        weight: Of the broad density.
    """
    return np.asarray(scores.log_p_in - np.log(weight) - background.log_p_out)


def _diluted(memorization: FloatArray, share: float) -> FloatArray:
    return np.asarray(np.logaddexp(np.log(share), np.log1p(-share) + memorization))
