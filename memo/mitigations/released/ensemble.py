"""Releasing the mean density of the models of a repeat.

Let p_lk be the model trained without fold k of repeat l, of L repeats of K folds; the released
density is e_l = mean_k p_lk. Of its K members, K - 1 were trained with observation i and one
without it; trained on the data without i, all K would be without. With U_i and V_i the logs of mean
densities of models with and without i, in the mean over training,

    log e(x_i | D) = log((1 - 1/K) exp U_i + 1/K exp V_i),    log e(x_i | D without i) = V_i,

so that M_i = log(1/K + (1 - 1/K) exp(U_i - V_i)), never below -log K. Where scores are by
`mean-log`, typical (geometric mean) densities stand in for mean ones: an ensemble of K models
without i is not among those that are trained.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from memo.mitigations.mitigation import Mitigation, Problem, ScoredModels, Surroundings
from memo.mitigations.release import Densities, FloatArray, Release
from memo.spec.scoring_specs import KFoldSpec

if TYPE_CHECKING:
    from memo.scores.aggregate import Aggregate


class EnsembleSpec(Mitigation):
    """Release the mean density of K models, each trained without one of K parts of the data.

    They are the fold models of a repeat: nothing is trained for it.
    """

    kind: Literal["ensemble"]

    by_training_sets: ClassVar[bool] = True
    of_the_released_density: ClassVar[bool] = True

    def problems(self, around: Surroundings) -> Iterator[Problem]:
        """Refuse designs without partitions."""
        if around.design.kind != "k-fold":
            yield Problem(
                "kind",
                "'ensemble' is for designs of kind 'k-fold': its members are the models of a "
                "repeat, each trained without one part of a partition",
            )

    def release(self, models: ScoredModels) -> "Ensemble":
        """Make the mean of each repeat's models."""
        assert isinstance(models.design, KFoldSpec)
        return Ensemble(models.design.folds)


@dataclass(frozen=True)
class Ensemble(Release):
    """The mean density of K models."""

    members: int
    """K."""

    def scores(self, scores: "Aggregate", densities: Densities) -> "Aggregate":
        """Scores of the mean density, from those of its members."""
        return ensemble_scores(scores, densities.log_likelihood, ~densities.held_out, self.members)


def ensemble_scores(
    scores: "Aggregate", log_likelihood: FloatArray, in_training: NDArray[np.bool_], members: int
) -> "Aggregate":
    """Compute scores of the mean density of K models, from those of its members.

    `mean_log_likelihood_in` is that of each repeat's ensemble; `_out` that of the ensemble of the
    models that had the observation held out, one a repeat: with fewer than K repeats it has fewer
    members than the released one, and reads low.

    Args:
        scores: Those of single models.
        log_likelihood: (models, n), nats; K models of each repeat stand together.
        in_training: True where a model was trained on an observation, (models, n).
        members: K.
    """
    # Imported here: polars comes with it, and reading a spec needs neither.
    from memo.scores.aggregate import jackknife_std_error  # noqa: PLC0415

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
        memorization_paper=_diluted(scores.memorization_paper, share),
        mean_log_likelihood_in=(scipy.special.logsumexp(repeats, axis=1) - np.log(members)).mean(0),
        mean_log_likelihood_out=scipy.special.logsumexp(held_out, axis=0)
        - np.log((~in_training).sum(0)),
        without_block=without,
    )


def _diluted(memorization: FloatArray, share: float) -> FloatArray:
    return np.asarray(np.logaddexp(np.log(share), np.log1p(-share) + memorization))
