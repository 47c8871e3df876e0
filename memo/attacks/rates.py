"""Rates of an attack: how many members it finds at which rate of false alarms, with intervals.

Pairs of a target and a record are counted, members and non-members by themselves, so that rates do
not depend on how many of either there are. A threshold is never chosen on the targets that it is
applied to, nor on others of their group.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray

from memo.attacks.results import Rate
from memo.scores.aggregate import FloatArray, jackknife_std_error
from memo.scores.intervals import LEVEL, t_interval

LEVELS = (0.1, 0.01, 0.001)
"""False positive rates at which true positive rates are given."""

FEWEST_ABOVE = 5
"""Fewest non-members that must lie above a threshold where it is chosen: a rate that fewer decide
is not resolved."""

TWICE = 2.0
"""Factor of the jackknife's variance over targets: each model acts twice, as a target and as a
reference of others, and leaving it out of the targets alone shows the first (benchmarks/README.md,
attacks)."""

ROC_POINTS = 200


@dataclass(frozen=True, eq=False)
class Judged:
    """Scores of all pairs of a target and a record, by the target's group."""

    score: FloatArray
    """(targets, n)."""
    member: NDArray[np.bool_]
    """True where the target was trained on the record, (targets, n)."""
    used: NDArray[np.bool_]
    """True for the pairs that count, (targets, n)."""
    group: NDArray[np.int64]
    """Group of each target, 0 ... groups - 1, (targets,)."""

    @property
    def groups(self) -> int:
        """Number of groups."""
        return int(self.group.max()) + 1

    @cached_property
    def of_members(self) -> list[FloatArray]:
        """Scores of each target's members, ascending."""
        return [np.sort(self.score[target, own]) for target, own in enumerate(self._pairs(True))]

    @cached_property
    def of_others(self) -> list[FloatArray]:
        """Scores of each target's non-members, ascending."""
        return [np.sort(self.score[target, own]) for target, own in enumerate(self._pairs(False))]

    def members_above(self, limits: FloatArray) -> NDArray[np.int64]:
        """Number of each target's members above each limit, (targets, limits)."""
        return _above(self.of_members, limits)

    def _pairs(self, members: bool) -> NDArray[np.bool_]:
        return np.asarray(self.used & (self.member == members))


def _above(ascending: list[FloatArray], limits: FloatArray) -> NDArray[np.int64]:
    counts = [len(own) - np.searchsorted(own, limits, side="right") for own in ascending]
    return np.stack(counts).astype(np.int64)


def exact_interval(count: int, total: int, level: float = LEVEL) -> tuple[float, float]:
    """Clopper & Pearson's interval of a rate (1934), of `count` among `total` independent trials.

    Example:
        >>> low, high = exact_interval(0, 10)
        >>> low, round(high, 3)
        (0.0, 0.308)
    """
    tail, rest = (1 - level) / 2, total - count
    return (
        float(scipy.special.betaincinv(count, rest + 1, tail)) if count else 0.0,
        float(scipy.special.betaincinv(count + 1, rest, 1 - tail)) if rest else 1.0,
    )


def thresholds(judged: Judged, fpr: float, label: NDArray[np.int64]) -> FloatArray | None:
    """Thresholds for each label of targets, chosen on the non-members of all other labels' targets.

    No larger share of these than `fpr` lies above a threshold.

    Args:
        judged: Scores.
        fpr: Share.
        label: Label of each target, 0 ... labels - 1, (targets,): their groups; or numbers of
            their own, for a jackknife over targets.

    Returns:
        (labels,); None where the rate is not resolved: fewer than `FEWEST_ABOVE` lie above one.
    """
    chosen = judged.used & ~judged.member
    own, score = np.broadcast_to(label[:, None], chosen.shape)[chosen], judged.score[chosen]
    sizes = np.bincount(own, minlength=int(label.max()) + 1)
    above = np.floor(fpr * (len(score) - sizes) * (1 + 1e-12)).astype(np.int64)
    if len(sizes) < 2 or above.min() < FEWEST_ABOVE:
        return None
    wanted = min(int((above + sizes).max()) + 1, len(score))
    top = np.argpartition(score, len(score) - wanted)[len(score) - wanted :]
    top = top[np.argsort(score[top])[::-1]]
    ends = np.bincount(own[top], minlength=len(sizes)).cumsum()
    places = np.split(np.argsort(own[top], kind="stable"), ends[:-1])
    return score[top[[_other(its, k) for its, k in zip(places, above, strict=True)]]]


def _other(places: NDArray[np.int64], k: np.int64) -> np.int64:
    """The k-th of the integers 0, 1, ... that are none of these places, which ascend."""
    others_before = places - np.arange(len(places))
    return k + np.searchsorted(others_before, k, side="right")


def called(judged: Judged, limits: FloatArray) -> NDArray[np.bool_]:
    """True for the pairs whose score is above their group's threshold, (targets, n)."""
    above = judged.score > limits[judged.group][:, None]
    return np.asarray(above & judged.used)


def areas(judged: Judged) -> FloatArray:
    """Area under the ROC curve of each target, (targets,), by Mann & Whitney; ties count half."""
    found = np.full(len(judged.score), np.nan)
    for target, inside in enumerate(judged.of_members):
        outside = judged.of_others[target]
        if len(inside) and len(outside):
            below = np.searchsorted(outside, inside, "left").sum()
            not_above = np.searchsorted(outside, inside, "right").sum()
            found[target] = (below + not_above) / (2 * len(inside) * len(outside))
    return found


def roc(judged: Judged) -> tuple[FloatArray, FloatArray]:
    """Points of the ROC curve of all targets together: false and true positive rates, ascending."""
    score = np.sort(np.concatenate(judged.of_others))[::-1]
    members = sum(map(len, judged.of_members))
    steps = np.geomspace(1, len(score), ROC_POINTS - 2)
    limits = score[np.unique(np.round(steps).astype(np.int64)) - 1]
    limits = np.unique(limits)[::-1]
    false = np.searchsorted(-score, -limits, side="right") / len(score)
    # a pair counts at its own score, so that a limit stands just below it
    true = judged.members_above(np.nextafter(limits, -np.inf)).sum(0) / members
    first = judged.members_above(score[:1]).sum() / members
    return np.array([0.0, *false, 1.0]), np.array([first, *true, 1.0])


def auc_of(judged: Judged) -> tuple[float, tuple[float, float] | None]:
    """Mean over targets of the area under the ROC curve, with its 95% interval."""
    area = areas(judged)
    area = area[np.isfinite(area)]
    value, count = float(area.mean()), len(area)
    if count < 2:
        return value, None
    without = (area.sum() - area) / (count - 1)
    return value, _interval(value, without)


def rate_at(judged: Judged, fpr: float) -> Rate:
    """The true positive rate at a nominal false positive rate.

    The interval is the delete-one-target jackknife's of the rate at a threshold of all targets,
    with its variance taken `TWICE`. It is never narrower than that of independent pairs, nor than
    the rates at the ends of a threshold's own interval, which few non-members may decide.
    """
    limits = thresholds(judged, fpr, judged.group)
    if limits is None:
        return Rate(fpr=fpr, missing=_unresolved(judged, fpr))
    found = called(judged, limits)
    members, others = judged.used & judged.member, judged.used & ~judged.member
    true, total = int((found & members).sum()), int(members.sum())
    false, non_members = int((found & others).sum()), int(others.sum())
    exact = exact_interval(true, total)
    ends = [exact, _interval(true / total, _without_each(judged, fpr)), _of_threshold(judged, fpr)]
    return Rate(
        fpr=fpr,
        missing=None,
        tpr=true / total,
        interval=(min(low for low, _ in ends), max(high for _, high in ends)),
        true_positives=true,
        members=total,
        tpr_exact=exact,
        false_positives=false,
        non_members=non_members,
        realized_fpr=false / non_members,
        realized_fpr_interval=exact_interval(false, non_members),
    )


def _without_each(judged: Judged, fpr: float) -> FloatArray:
    """True positive rates without each target, at thresholds that were chosen without it."""
    targets = range(len(judged.score))
    limits = thresholds(judged, fpr, np.arange(len(targets)))
    assert limits is not None  # there are more non-members than without a whole group
    above = judged.members_above(limits)
    sizes = np.array([len(own) for own in judged.of_members])
    return np.asarray((above.sum(0) - np.diagonal(above)) / (sizes.sum() - sizes))


def _of_threshold(judged: Judged, fpr: float) -> tuple[float, float]:
    """True positive rates at the ends of the 95% interval of a threshold of all targets."""
    outside = judged.score[judged.used & ~judged.member]
    low, high = exact_interval(math.floor(fpr * len(outside)), len(outside))
    counts = math.floor(low * len(outside)), min(math.ceil(high * len(outside)), len(outside) - 1)
    places = [len(outside) - 1 - count for count in counts]
    limits = np.partition(outside, places)[places]
    few, many = judged.members_above(limits).sum(0) / sum(map(len, judged.of_members))
    return float(few), float(many)


def _interval(value: float, without: FloatArray) -> tuple[float, float]:
    error = float(np.sqrt(TWICE)) * float(jackknife_std_error(without))
    low, high = t_interval(value, error, len(without) - 1)
    return max(0.0, low), min(1.0, high)


def _unresolved(judged: Judged, fpr: float) -> str:
    chosen = judged.used & ~judged.member
    sizes = np.bincount(judged.group, chosen.sum(1), minlength=judged.groups)
    fewest = int(len(judged.score) and chosen.sum() - sizes.max())
    return (
        f"a false positive rate of {100 * fpr:g}% is not resolved: thresholds are chosen on "
        f"{fewest:,} non-members, of whom it takes {FEWEST_ABOVE / fpr:,.0f}"
    )
