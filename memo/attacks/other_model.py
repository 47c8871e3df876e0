"""Membership in the training set of another model, with models whose training sets are known."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.attacks.membership import judged_pairs
from memo.attacks.methods.known_attacks import ATTACKS, PRIMARY
from memo.attacks.rates import FEWEST_ABOVE, LEVELS
from memo.attacks.trained_models import TrainedModels
from memo.errors import InputError
from memo.scores.aggregate import FloatArray

CLEARLY = 4.0
"""Standard deviations between models beyond which another model is not one of their kind."""


@dataclass(frozen=True, eq=False)
class Memberships:
    """Membership of n records in another model's training set, as far as its log p tells."""

    score: FloatArray
    """(n,), of the primary attack; NaN where nothing is known of the record."""
    fpr: FloatArray
    """Share of non-members of the known models whose score is no lower, (n,): the rate of false
    alarms at which the record is called a member."""
    tpr: FloatArray
    """Share of members whose score is no lower, (n,)."""
    probability: FloatArray
    """Probability that the record is a member, if it was as likely one as not beforehand, (n,)."""
    non_members: int
    """Pairs of a known model and a record that it had held out, which `fpr` is counted in."""
    shift: float
    """Nats by which log p lies, on average, above what known models lead to expect, or below."""
    spread: float
    """Standard deviation of this between known models."""

    def called(self, fpr: float) -> NDArray[np.bool_]:
        """True for the records that are called members at a rate of false alarms, (n,)."""
        return np.asarray(self.fpr <= fpr)

    @property
    def resolved(self) -> list[float]:
        """Those of `LEVELS` that there are non-members enough for."""
        return [level for level in LEVELS if level * self.non_members >= FEWEST_ABOVE]

    @property
    def of_another_kind(self) -> bool:
        """True where the model gives other log p than the known ones, so that rates cannot hold."""
        return abs(self.shift) > CLEARLY * self.spread


def memberships(models: TrainedModels, log_p: FloatArray) -> Memberships:
    """Judge each record by its log p under a model whose training set is not known.

    All models are references. Rates are those of the same attack on each of them, with references
    of other groups: a few less, which makes it a little weaker than here.

    Args:
        models: Log-likelihoods of n records under models whose training sets are known.
        log_p: Under the other model, (n,) nats; NaN where it is not known.

    Raises:
        InputError: The models cannot be attacked themselves, so that no rate is known; or the other
            model is one of them.
    """
    same = models.there & (models.log_likelihood == log_p)
    if (same.sum(1) == (models.there & np.isfinite(log_p)).sum(1)).any():
        raise InputError(
            "these are the log-likelihoods of one of the models that would be references, whose "
            "training set is known"
        )
    judged = judged_pairs(models)
    if judged is None:
        raise InputError("there are not two groups of models that can be attacked themselves")
    references = models.references(np.arange(len(models.kin)))
    both = (references.count_in > 0) & (references.count_out > 0)
    score = np.where(both, ATTACKS[PRIMARY].score(log_p, references), np.nan)
    outside = np.sort(judged.score[judged.used & ~judged.member])
    inside = np.sort(judged.score[judged.used & judged.member])
    known = np.isfinite(score)
    above = len(outside) - np.searchsorted(outside, score, side="left")
    found = len(inside) - np.searchsorted(inside, score, side="left")
    shift, spread = _shift(models, log_p, known)
    return Memberships(
        score=score,
        fpr=np.where(known, (above + 1) / (len(outside) + 1), np.nan),
        tpr=np.where(known, found / len(inside), np.nan),
        probability=_probability(inside, outside, score, known),
        non_members=len(outside),
        shift=shift,
        spread=spread,
    )


def _probability(
    inside: FloatArray, outside: FloatArray, score: FloatArray, known: NDArray[np.bool_]
) -> FloatArray:
    """Calibrated membership, members and non-members having half of the weight each.

    It is kept from 0 and 1 by one pair more: no more than that can so many tell.
    """
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415 -- slow to import

    values = np.concatenate([inside, outside])
    member = np.repeat([1.0, 0.0], [len(inside), len(outside)])
    weight = np.repeat([0.5 / len(inside), 0.5 / len(outside)], [len(inside), len(outside)])
    fit = IsotonicRegression(out_of_bounds="clip").fit(values, member, weight)
    result = np.full(len(score), np.nan)
    if known.any():
        nearest = 1 / (min(len(inside), len(outside)) + 1)
        result[known] = np.clip(fit.predict(score[known]), nearest, 1 - nearest)
    return result


def _shift(
    models: TrainedModels, log_p: FloatArray, known: NDArray[np.bool_]
) -> tuple[float, float]:
    """Mean log p over records less that of known models, and its standard deviation over these.

    The two ends, a model that was trained on all records and one on none, are both allowed for.
    """
    if not known.any():
        return 0.0, 1.0
    references = models.references(np.arange(len(models.kin)))
    here = np.where(models.there, models.log_likelihood, np.nan)[:, known]
    ends = [float(side[known].mean()) for side in (references.mean_in, references.mean_out)]
    middle = (references.mean_in + references.mean_out)[known] / 2
    own = np.nanmean(here - middle, axis=1)
    spread = float(own.std(ddof=1)) + 1e-9 * abs(float(middle.mean()))
    value = float(log_p[known].mean())
    low, high = min(ends), max(ends)
    return min(value - low, 0.0) + max(value - high, 0.0), spread


def answers(observations: pl.DataFrame, log_p: FloatArray, found: Memberships) -> pl.DataFrame:
    """One row for each record that is judged, the most likely members first.

    Args:
        observations: Columns `index`, `id` and `label`, in the order of records.
        log_p: Under the other model, (n,).
        found: What it tells.

    Returns:
        `index`, `id`, `label`, `log_likelihood`, `score`, `false_positive_rate`,
        `true_positive_rate`, `probability`; and for each rate of false alarms that is resolved
        whether it is called a member at it, as `member_at_0.01`.
    """
    table = observations.select("index", "id", "label").with_columns(
        log_likelihood=pl.Series(log_p),
        score=pl.Series(found.score, nan_to_null=True),
        false_positive_rate=pl.Series(found.fpr),
        true_positive_rate=pl.Series(found.tpr),
        probability=pl.Series(found.probability),
        **{f"member_at_{level:g}": pl.Series(found.called(level)) for level in found.resolved},
    )
    return table.drop_nulls("score").sort("score", "index", descending=[True, False])
