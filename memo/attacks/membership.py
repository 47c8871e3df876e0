"""All attacks on all targets: rates, curves, risks of records, and a bound of epsilon."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.attacks.epsilon import epsilon_bound
from memo.attacks.methods.known_attacks import ATTACKS, PRIMARY
from memo.attacks.rates import LEVELS, Judged, auc_of, called, rate_at, roc, thresholds
from memo.attacks.results import AttackRates, AttackResults, Curve
from memo.attacks.risk import RISK_LEVEL, RISKS, record_risks, summary_of
from memo.attacks.trained_models import TrainedModels
from memo.scores.aggregate import FloatArray

ONE_GROUP = (
    "all models depend on each other, as those of one repeat do, so that there are no references "
    "to attack a model with"
)
TOO_FEW = (
    "in fewer than two groups of models is there one with members and non-members of which there "
    "are reference models with and without them"
)


@dataclass(frozen=True)
class Promise:
    """Differential privacy of each training, as its accountant has it."""

    epsilon: float
    delta: float


@dataclass(frozen=True, eq=False)
class Attacked:
    """Results of the attacks on one experiment."""

    results: AttackResults
    risks: pl.DataFrame
    """Columns as in `RISKS`; no rows where nothing was attacked."""


def attack_models(
    models: TrainedModels,
    observations: pl.DataFrame,
    memorization: FloatArray,
    epoch: int,
    promise: Promise | None = None,
) -> Attacked:
    """Attack each model in turn, with models that depend on nothing of it as references.

    Args:
        models: Log-likelihoods of n records at one epoch.
        observations: Columns `index`, `id` and `label` of the records.
        memorization: Their scores, (n,) nats, NaN where there is none; risks are compared with it.
        epoch: The epoch.
        promise: What differentially private training promises, to be set beside what is found.

    Example:
        Each of ten pairs of models knows one half of 200 records, and gives them 5 nats more.

        >>> rng = np.random.default_rng(0)
        >>> halves = [rng.permutation(200) < 100 for _ in range(10)]
        >>> trained = np.stack([half for first in halves for half in (first, ~first)])
        >>> log_p = rng.normal(5.0 * trained, 1.0)
        >>> models = TrainedModels(log_p, trained, np.repeat(np.arange(10), 2)[:, None])
        >>> names = pl.DataFrame({"index": range(200)}).with_columns(
        ...     id=pl.col("index").cast(pl.String), label=pl.lit(None, pl.String)
        ... )
        >>> found = attack_models(models, names, np.full(200, 5.0), epoch=1)
        >>> found.results.headline.auc > 0.99, found.results.targets
        (True, 20)
    """
    if len(np.unique(models.group)) < 2:
        return nothing_attacked(epoch, ONE_GROUP)
    seen = _seen(models)
    targets = seen.targets(models)
    if targets is None:
        return nothing_attacked(epoch, TOO_FEW)
    attacks = {name: _rates(name, seen.judged(models, targets, name)) for name in ATTACKS}
    primary = seen.judged(models, targets, PRIMARY)
    used = primary.used
    risks, summary = _no_risks(), None
    limits = thresholds(primary, RISK_LEVEL, primary.group)
    if limits is not None:
        risks = record_risks(observations, primary, called(primary, limits))
        summary = summary_of(risks, memorization)
    rate = attacks[PRIMARY].rates[LEVELS.index(RISK_LEVEL)]
    return Attacked(
        AttackResults(
            epoch=epoch,
            observations=int(used.any(0).sum()),
            not_attacked=int((~used.any(0)).sum()),
            models=len(models.group),
            targets=len(used),
            groups=primary.groups,
            references_in=seen.references_in,
            references_out=seen.references_out,
            primary=PRIMARY,
            attacks=attacks,
            epsilon=epsilon_bound(rate)
            if promise is None
            else epsilon_bound(rate, promise.delta, promise.epsilon),
            risk=summary,
        ),
        risks,
    )


def judged_pairs(models: TrainedModels, attack: str = PRIMARY) -> Judged | None:
    """Scores of one attack on each model in turn; None where there is nothing to attack."""
    seen = _seen(models, [attack])
    targets = seen.targets(models)
    return None if targets is None else seen.judged(models, targets, attack)


def nothing_attacked(epoch: int, reason: str) -> Attacked:
    """Results that say why there are none."""
    return Attacked(AttackResults(epoch=epoch, reason=reason, primary=PRIMARY), _no_risks())


@dataclass(frozen=True, eq=False)
class _Seen:
    """Scores of each attack, and what they were made with."""

    score: dict[str, FloatArray]
    """(models, n) of each attack."""
    used: NDArray[np.bool_]
    """True for pairs whose record has references on both sides, (models, n)."""
    references_in: tuple[int, int]
    references_out: tuple[int, int]

    def targets(self, models: TrainedModels) -> NDArray[np.bool_] | None:
        """Mark models with members and non-members, (models,); None of fewer than two groups."""
        member = models.in_training
        both = (self.used & member).any(1) & (self.used & ~member).any(1)
        return np.asarray(both) if len(np.unique(models.group[both])) > 1 else None

    def judged(self, models: TrainedModels, targets: NDArray[np.bool_], attack: str) -> Judged:
        """Pairs of the targets and all records."""
        group = np.unique(models.group[targets], return_inverse=True)[1].astype(np.int64)
        member, used = models.in_training[targets], self.used[targets]
        return Judged(self.score[attack][targets], member, used, group)


def _seen(models: TrainedModels, attacks: Iterable[str] = ATTACKS) -> _Seen:
    shape = models.log_likelihood.shape
    score = {name: np.full(shape, np.nan) for name in attacks}
    used = np.zeros(shape, np.bool_)
    counts: list[list[tuple[int, int]]] = [[], []]
    for targets, references in models.with_references():
        sides = (references.count_in, references.count_out)
        there = (sides[0] > 0) & (sides[1] > 0)
        if not there.any():
            continue
        for ends, side in zip(counts, sides, strict=True):
            ends.append((int(side[there].min()), int(side[there].max())))
        for target in targets:
            known = models.there[target]
            used[target] = there & known
            log_p = np.where(known, models.log_likelihood[target], np.nan)
            for name, found in score.items():
                found[target] = ATTACKS[name].score(log_p, references)
    inside, outside = (
        (min(low for low, _ in ends), max(high for _, high in ends)) if ends else (0, 0)
        for ends in counts
    )
    return _Seen(score, used, inside, outside)


def _rates(name: str, judged: Judged) -> AttackRates:
    auc, interval = auc_of(judged)
    false, true = roc(judged)
    return AttackRates(
        label=ATTACKS[name].label,
        auc=auc,
        auc_interval=interval,
        rates=[rate_at(judged, level) for level in LEVELS],
        roc=Curve(fpr=false.tolist(), tpr=true.tolist()),
    )


def _no_risks() -> pl.DataFrame:
    return pl.DataFrame(schema=RISKS)
