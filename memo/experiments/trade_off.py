"""The trade that experiments make: memorization against held-out likelihood."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import norm

from memo.errors import WorkError
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

    @property
    def facts(self) -> dict[str, str]:
        """Facts that came with the scores."""
        return self.scores.facts


def frontier(
    trades: Sequence[Trade],
    baseline: str,
    statistic: str,
    images: NDArray[np.uint8] | None,
) -> Frontier:
    """Points, which of them nothing beats, and verdicts corrected for how many there are.

    Args:
        trades: The baseline, and those that are on the same observations.
        baseline: Its name.
        statistic: A name in `memo.scores.STATISTICS`.
        images: Of the observations, row `index`.
    """
    summaries = [summarize(trade.scores) for trade in trades]
    best = undominated(
        np.array([s.memorization[statistic].value for s in summaries]),
        np.array([s.held_out_log_likelihood.value for s in summaries]),
    )
    verdicts = _verdicts(trades, statistic)
    (first,) = (trade for trade in trades if trade.name == baseline)
    return Frontier(
        statistic=f"{STATISTICS[statistic].label} of memorization",
        unit=STATISTICS[statistic].unit,
        baseline=baseline,
        points=[
            _point(trade, summary, statistic, bool(good), verdicts.get(trade.name, ""))
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
    return replace(change, std_error=half / float(norm.ppf((1 + LEVEL) / 2))), math.inf


def _verdicts(trades: Sequence[Trade], statistic: str) -> dict[str, str]:
    """Say in words what each difference from the baseline shows."""
    tests = {}
    for trade in trades:
        found = trade.difference
        if found is not None:
            tests[trade.name, "memorization"] = _test(statistic, found)
            freedom = len(trade.scores.last) - 1
            tests[trade.name, "likelihood"] = (found.held_out_log_likelihood, freedom)
    shown = _shown(tests)
    return {
        trade.name: _verdict(trade.difference, trade.name, statistic, shown)
        for trade in trades
        if trade.difference is not None
    }


def _verdict(difference: Comparison, name: str, statistic: str, shown: set[tuple[str, str]]) -> str:
    memorization = difference.statistics[statistic].value
    likelihood = difference.held_out_log_likelihood.value
    less = f"memorizes {'less' if memorization < 0 else 'more'}"
    better = f"held-out likelihood {'higher' if likelihood > 0 else 'lower'}"
    return "; ".join(
        [
            less if (name, "memorization") in shown else "no difference in memorization shown",
            better if (name, "likelihood") in shown else "none in held-out likelihood",
        ]
    )


def _point(
    trade: Trade, summary: Summary, statistic: str, good: bool, verdict: str
) -> FrontierPoint:
    found, unit = trade.difference, STATISTICS[statistic].unit
    return FrontierPoint(
        name=trade.name,
        title=trade.title,
        memorization=_headline(summary.memorization[statistic], unit),
        held_out=_headline(summary.held_out_log_likelihood),
        undominated=good,
        memorization_difference=None
        if found is None
        else _headline(found.statistics[statistic], unit),
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
