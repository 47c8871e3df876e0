"""Risk of each record: the share of targets that hold it in which an attack finds it."""

import numpy as np
import polars as pl
import scipy
from numpy.typing import NDArray

from memo.attacks.rates import Judged
from memo.attacks.results import RiskSummary
from memo.scores.aggregate import FloatArray
from memo.scores.intervals import LEVEL
from memo.scores.relation import relate

RISKS: dict[str, pl.DataType] = {
    "index": pl.Int64(),
    "id": pl.String(),
    "label": pl.String(),
    "targets_in": pl.Int64(),
    "found": pl.Int64(),
    "risk": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "targets_out": pl.Int64(),
    "false_found": pl.Int64(),
    "at_risk": pl.Boolean(),
}
"""Columns of the table, one row for each record.

`targets_in` is the number of target models that were trained on the record; the attack calls it a
member in `found` of them, at a threshold that `RISK_LEVEL` of the non-members of other targets lie
above. `risk` is found / targets_in, null where there is no such target, and `low` and `high` the
ends of its 95% interval, in which a group of targets that are judged by the same references counts
once. `targets_out` is the number of targets that were trained without the record, and `false_found`
of how many of these the attack calls it a member all the same. `at_risk` marks records that are
found more often with than without it in training, at a false discovery rate of 5%.
"""

NULLABLE = frozenset({"label", "risk", "low", "high"})

RISK_LEVEL = 0.01
"""False positive rate at which records are found."""

DISCOVERY_RATE = 0.05


def record_risks(
    observations: pl.DataFrame, judged: Judged, found: NDArray[np.bool_]
) -> pl.DataFrame:
    """The table of risks.

    Args:
        observations: Columns `index`, `id` and `label`, in the order of the records.
        judged: Pairs of targets and records.
        found: True where the attack calls the record a member of the target, (targets, n).

    Returns:
        Columns as in `RISKS`.
    """
    inside, outside = judged.used & judged.member, judged.used & ~judged.member
    held, hits = inside.sum(0), (found & inside).sum(0)
    low, high = _ends(judged, found, inside)
    known = held > 0
    return observations.select(
        "index",
        "id",
        "label",
        targets_in=pl.Series(held, dtype=pl.Int64),
        found=pl.Series(hits, dtype=pl.Int64),
        risk=pl.Series(np.where(known, hits / np.maximum(held, 1), np.nan), nan_to_null=True),
        low=pl.Series(np.where(known, low, np.nan), nan_to_null=True),
        high=pl.Series(np.where(known, high, np.nan), nan_to_null=True),
        targets_out=pl.Series(outside.sum(0), dtype=pl.Int64),
        false_found=pl.Series((found & outside).sum(0), dtype=pl.Int64),
        at_risk=pl.Series(more_often_as_member(judged, found)),
    )


def more_often_as_member(judged: Judged, found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark records that are found in more targets with than without them, (n,).

    An exact permutation test in strata: where a record makes no difference, any of a group's
    targets that found it may be those that were trained without it, so that their number is
    hypergeometric, and its sum over groups is tested from below; then Benjamini & Hochberg (1995).
    """
    distribution = np.ones((1, found.shape[1]))
    seen = np.zeros(found.shape[1], np.int64)
    for group in range(judged.groups):
        rows = judged.group == group
        used = judged.used[rows]
        outside = used & ~judged.member[rows]
        total, without = used.sum(0), outside.sum(0)
        hits = (found[rows] & used).sum(0)
        seen += (found[rows] & outside).sum(0)
        counts = np.arange(int(without.max(initial=0)) + 1)[:, None]
        own = scipy.stats.hypergeom.pmf(counts, np.maximum(total, 1), hits, without)
        distribution = _sum_of(distribution, own)
    p_values = np.cumsum(distribution, axis=0)[seen, np.arange(found.shape[1])]
    adjusted = scipy.stats.false_discovery_control(np.clip(p_values, 0, 1), method="bh")
    return np.asarray(adjusted <= DISCOVERY_RATE)


def summary_of(risks: pl.DataFrame, memorization: FloatArray) -> RiskSummary:
    """Risks in a few numbers, and how they go with scores.

    Args:
        risks: Columns as in `RISKS`.
        memorization: Scores of the same records, (n,) nats; NaN where there is none.
    """
    risk = risks["risk"].to_numpy()
    known = np.isfinite(risk)
    both = known & np.isfinite(memorization)
    correlation = relate(memorization[both], risk[both], np.zeros(both.sum(), np.bool_))
    found = correlation.rank_correlation
    return RiskSummary(
        fpr=RISK_LEVEL,
        mean=float(risk[known].mean()),
        at_risk=int(risks["at_risk"].sum()),
        found_in_most=int((risk[known] >= 0.5).sum()),
        rank_correlation=None if found is None else tuple(found),
    )


def _ends(
    judged: Judged, found: NDArray[np.bool_], inside: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    """Clopper & Pearson's limits with groups for trials, each of which succeeds by its share."""
    shares, groups = np.zeros(found.shape[1]), np.zeros(found.shape[1])
    for group in range(judged.groups):
        rows = judged.group == group
        held = inside[rows].sum(0)
        shares += np.divide((found & inside)[rows].sum(0), held, where=held > 0, out=0.0 * shares)
        groups += held > 0
    tail = (1 - LEVEL) / 2
    low = scipy.special.betaincinv(shares, groups - shares + 1, tail)
    high = scipy.special.betaincinv(shares + 1, groups - shares, 1 - tail)
    return np.where(shares > 0, low, 0.0), np.where(shares < groups, high, 1.0)


def _sum_of(first: FloatArray, second: FloatArray) -> FloatArray:
    """Distribution of the sum of two counts, of each record: (counts, n)."""
    total = np.zeros((len(first) + len(second) - 1, first.shape[1]))
    for count, share in enumerate(second):
        total[count : count + len(first)] += first * share
    return total
