"""The trade that experiments make: memorization against held-out likelihood."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np
import polars as pl
import scipy

from memo.attacks.results import AttackResults, Rate
from memo.datasets.pictures import Pictures
from memo.errors import InputError, WorkError
from memo.mitigations.stored_facts import stored_values
from memo.report.headlines import headline
from memo.report.page_data import Frontier, FrontierPoint, Headline, Mover, Movers, Remainder
from memo.scores.comparison import Comparison, compare_scores
from memo.scores.frontier import holm, p_value, undominated
from memo.scores.intervals import LEVEL
from memo.scores.statistics import STATISTICS
from memo.scores.summaries import Estimate, Summary, summarize
from memo.scores.table import Scores

ERROR_RATE = 0.05
"""Probability that any verdict of a table is wrong, where nothing differs."""

MOST_MOVERS = 6

ATTACK_STATISTICS = {"tpr-at-0.1": 0.1, "tpr-at-0.01": 0.01, "tpr-at-0.001": 0.001}
"""Names of true positive rates of the primary attack, and their rates of false positives."""

FRONTIER_STATISTICS = (*STATISTICS, *ATTACK_STATISTICS)
"""All that a frontier can be of."""

_REMAINDER = ("mean", "q95", "q99.9", "max")

_Key = TypeVar("_Key")


@dataclass(frozen=True, eq=False)
class Trade:
    """One experiment, and how it differs from the baseline."""

    name: str
    title: str
    scores: Scores
    seconds: float | None = None
    """Processor time of training one model, on average; None where it was not measured."""
    difference: Comparison | None = None
    """From the baseline; None of itself, and where they cannot be compared."""
    attacked: AttackResults | None = None
    """Results of the attacks; None where that is not asked for."""

    @property
    def facts(self) -> dict[str, str]:
        """Facts that came with the scores."""
        return self.scores.facts


class _Difference(NamedTuple):
    """A difference as it is shown, and as it is tested."""

    shown: Estimate
    tested: Estimate
    freedom: float
    """Degrees of freedom of the standard error that is tested with."""


@dataclass(frozen=True)
class _Measured:
    """Numbers on the frontier's axis of memorization."""

    label: str
    unit: str
    value: Callable[[Trade], Estimate]
    difference: Callable[[Trade, Trade], "_Difference"]
    """From the baseline to another."""
    verdicts: tuple[str, str, str]
    """Words for less, more, and neither shown."""


def frontier(
    trades: Sequence[Trade],
    baseline: str,
    statistic: str,
    images: Pictures | None,
) -> Frontier:
    """Points, which of them nothing beats, and verdicts corrected for how many there are.

    Args:
        trades: The baseline, and those that are on the same observations.
        baseline: Its name.
        statistic: One of `FRONTIER_STATISTICS`.
        images: Of the observations, row `index`.

    Raises:
        InputError: An experiment has no such number, and why.
    """
    summaries = [summarize(trade.scores) for trade in trades]
    measured = _measured(statistic)
    (first,) = (trade for trade in trades if trade.name == baseline)
    best = undominated(
        np.array([measured.value(trade).value for trade in trades]),
        np.array([s.held_out_log_likelihood.value for s in summaries]),
    )
    differences = {
        trade.name: measured.difference(first, trade)
        for trade in trades
        if trade.difference is not None
    }
    verdicts = _verdicts(trades, differences, measured)
    return Frontier(
        statistic=measured.label,
        unit=measured.unit,
        baseline=baseline,
        points=[
            _point(
                trade,
                summary,
                measured,
                differences[trade.name].shown if trade.name in differences else None,
                undominated=bool(good),
                verdict=verdicts.get(trade.name, ""),
            )
            for trade, summary, good in zip(trades, summaries, best, strict=True)
        ],
        movers=[_movers(first, trade) for trade in trades if trade.difference is not None],
        images=images,
    )


def remainder(removal: Trade, twin: Trade, of: str, *, chosen_by_twin: bool) -> Remainder:
    """Tell whether a new layer becomes memorized in the place of what was removed.

    Args:
        removal: The experiment that removes.
        twin: The same without the removal.
        of: The experiment whose scores said what to remove.
        chosen_by_twin: True where that is the twin itself.
    """
    removed = stored_values(removal.facts, removal.name).get("removed")
    if removed is None:
        raise WorkError(
            f"{removal.name}: scores do not say what was removed; run: memo score {removal.name}"
        )
    last = [trade.scores.last for trade in (twin, removal)]
    before, after = (scores.among(np.setdiff1d(scores.index, removed)) for scores in last)
    paired = twin.facts.get("partitions") == removal.facts.get("partitions")
    found = compare_scores(before, after, same_partitions=paired)
    sentences = [
        f"{removal.name} leaves the {len(removed):,} observations that {of} memorized most out of "
        f"every training set. Over the {len(after):,} others, the scores under {twin.name}, which "
        "is the same without the removal, are the row 'before'."
    ]
    if chosen_by_twin:
        sentences.append(
            "What was removed was chosen by the very scores that it is compared with: among the "
            "rest they read low by chance, and part of any rise is regression to the mean. A twin "
            "with another seed, which the removal shares, has no such bias."
        )
    changes = {name: found.statistics[name] for name in _REMAINDER}
    shown = _shown({name: _test(name, found) for name in changes})
    rows = []
    for name, change in changes.items():
        label, unit = STATISTICS[name].label, STATISTICS[name].unit
        old, new = (summarize(side).memorization[name] for side in (before, after))
        words = _risen(change, shown=name in shown)
        rows += [
            headline(f"{label}, before", old, unit, f"Under {twin.name}."),
            headline(f"{label}, after", new, unit, "With the removal."),
            headline(f"{label}, change", change, unit, words),
        ]
    return Remainder(removal.name, sentences, rows)


def _risen(change: Estimate, *, shown: bool) -> str:
    if change.std_error is None:
        return "One repeat: whether this is chance is not known."
    if not shown:
        return "Not shown to be more than chance."
    return "A new layer is memorized." if change.value > 0 else "Less is memorized."


def _shown(tests: dict[_Key, tuple[Estimate, float]]) -> set[_Key]:
    """Find differences that are not zero, at one error rate for all together (Holm 1979)."""
    p_values = {key: p_value(value, max(1, freedom)) for key, (value, freedom) in tests.items()}
    known = {key: p for key, p in p_values.items() if p is not None}
    adjusted = holm(list(known.values()))
    return {key for key, p in zip(known, adjusted, strict=True) if p <= ERROR_RATE}


def _test(name: str, found: Comparison) -> tuple[Estimate, float]:
    """The difference of a statistic, and the degrees of freedom of its standard error.

    The difference of statistics of true scores has an interval from their posterior draws, and is
    taken to be normal on the side of zero.
    """
    change = found.statistics[name]
    if STATISTICS[name].linear or change.low is None or change.high is None:
        return change, found.repeats - 1
    half = change.value - change.low if change.value > 0 else change.high - change.value
    return replace(change, std_error=half / float(scipy.stats.norm.ppf((1 + LEVEL) / 2))), math.inf


def _measured(statistic: str) -> _Measured:
    if statistic in ATTACK_STATISTICS:
        return _of_attacks(ATTACK_STATISTICS[statistic])
    label, unit = STATISTICS[statistic].label, STATISTICS[statistic].unit

    def difference(_: Trade, other: Trade) -> _Difference:
        assert other.difference is not None
        tested = _test(statistic, other.difference)
        return _Difference(other.difference.statistics[statistic], *tested)

    return _Measured(
        f"{label} of memorization",
        unit,
        lambda trade: summarize(trade.scores).memorization[statistic],
        difference,
        ("memorizes less", "memorizes more", "no difference in memorization shown"),
    )


def _of_attacks(fpr: float) -> _Measured:
    """Members found at a rate of false alarms, in percent; differences are not paired."""

    def value(trade: Trade) -> Estimate:
        rate = _rate(trade, fpr)
        assert rate.tpr is not None
        low, high = rate.interval or (None, None)
        ends = (None if end is None else 100 * end for end in (low, high))
        return Estimate(100 * rate.tpr, None, *ends)

    def difference(first: Trade, other: Trade) -> _Difference:
        before, after = value(first), value(other)
        change = after.value - before.value
        if None in (before.low, before.high, after.low, after.high):
            return _Difference(Estimate(change, None), Estimate(change, None), math.inf)
        assert before.low is not None
        assert before.high is not None
        assert after.low is not None
        assert after.high is not None
        # from the intervals of both sides (Zou & Donner 2008)
        below = math.hypot(after.value - after.low, before.high - before.value)
        above = math.hypot(after.high - after.value, before.value - before.low)
        error = (below if change > 0 else above) / float(scipy.stats.norm.ppf((1 + LEVEL) / 2))
        found = Estimate(change, error, change - below, change + above)
        return _Difference(found, found, math.inf)

    return _Measured(
        f"Members found at {100 * fpr:g}% false alarms",
        "%",
        value,
        difference,
        ("gives fewer members away", "gives more members away", "no difference in attacks shown"),
    )


def _rate(trade: Trade, fpr: float) -> Rate:
    found = trade.attacked
    if found is None:
        raise InputError(f"{trade.name}: was not attacked; run: memo attack {trade.name}")
    if found.reason is not None:
        raise InputError(f"{trade.name}: nothing was attacked: {found.reason}")
    (rate,) = (rate for rate in found.headline.rates if rate.fpr == fpr)
    if rate.missing is not None:
        raise InputError(f"{trade.name}: {rate.missing}")
    return rate


def _verdicts(
    trades: Sequence[Trade], differences: dict[str, _Difference], measured: _Measured
) -> dict[str, str]:
    """Say in words what each difference from the baseline shows."""
    tests = {
        (name, "memorization"): (found.tested, found.freedom) for name, found in differences.items()
    }
    for trade in trades:
        if trade.difference is not None:
            freedom = len(trade.scores.last) - 1
            likelihood = trade.difference.held_out_log_likelihood
            tests[trade.name, "likelihood"] = (likelihood, freedom)
    shown = _shown(tests)
    return {
        trade.name: _verdict(
            trade.name,
            differences[trade.name].shown.value,
            trade.difference.held_out_log_likelihood.value,
            measured,
            shown,
        )
        for trade in trades
        if trade.difference is not None
    }


def _verdict(
    name: str,
    memorization: float,
    likelihood: float,
    measured: _Measured,
    shown: set[tuple[str, str]],
) -> str:
    less, more, neither = measured.verdicts
    better = f"held-out likelihood {'higher' if likelihood > 0 else 'lower'}"
    way = less if memorization < 0 else more
    return "; ".join(
        [
            way if (name, "memorization") in shown else neither,
            better if (name, "likelihood") in shown else "none in held-out likelihood",
        ]
    )


def _point(
    trade: Trade,
    summary: Summary,
    measured: _Measured,
    change: Estimate | None,
    *,
    undominated: bool,
    verdict: str,
) -> FrontierPoint:
    found, unit = trade.difference, measured.unit
    return FrontierPoint(
        name=trade.name,
        title=trade.title,
        memorization=_headline(measured.value(trade), unit),
        held_out=_headline(summary.held_out_log_likelihood),
        undominated=undominated,
        memorization_difference=None if change is None else _headline(change, unit),
        held_out_difference=None if found is None else _headline(found.held_out_log_likelihood),
        verdict=verdict,
        seconds=trade.seconds,
        epsilon=stored_values(trade.facts, trade.name).get("epsilon"),
    )


def _headline(estimate: Estimate, unit: str = "nats") -> Headline:
    return headline("", estimate, unit, "")


def _movers(first: Trade, other: Trade) -> Movers:
    sides = first.scores.last, other.scores.last
    alike = sides[0].ranking == sides[1].ranking
    before, after = (side.ranking if alike else "memorization" for side in sides)
    both = (
        sides[0]
        .table.select("index", "id", "label", before=before)
        .join(sides[1].table.select("index", after=after), on="index")
        .with_columns(change=pl.col("after") - pl.col("before"))
        .sort("change", "index")
    )
    least, most = both.head(MOST_MOVERS), both.tail(MOST_MOVERS).reverse()
    lost, gained = (
        [Mover(**row) for row in side.drop("change").iter_rows(named=True)]
        for side in (least.filter(pl.col("change") < 0), most.filter(pl.col("change") > 0))
    )
    shrunk = before != "memorization" and not all(side.exact for side in sides)
    return Movers(other.name, lost, gained, shrunk)
