"""Several experiments side by side: how each differs from a baseline, and what the trade is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from memo.datasets.pictures import Pictures
from memo.experiments.doubts import Doubt, doubts_as_json, score_doubts
from memo.experiments.sampled.words import SPACE_FACT
from memo.experiments.trade_off import Trade, frontier, remainder
from memo.project.experiment_spec import ExperimentSpec
from memo.project.project_spec import ProjectSpec
from memo.report.headlines import difference_headlines, metrics, summary_headlines
from memo.report.page_data import ComparedExperiment, ComparisonData, Difference, Remainder
from memo.scores.comparison import Comparison, ScoringError, compare_scores
from memo.scores.summaries import quantile_curve, summarize
from memo.scores.table import Scores

_SHOWN_BY_DVC = ("mean", "q99.9")
"""Statistics of memorization among the metrics of a comparison."""


@dataclass(frozen=True)
class Removal:
    """An experiment that removes what another memorized, and the same without the removal."""

    name: str
    twin: str
    of: str


@dataclass(frozen=True)
class Compared:
    """Several experiments side by side."""

    data: ComparisonData
    json: dict[str, Any]

    @property
    def metrics(self) -> dict[str, Any]:
        """Differences from the baseline as numbers and words in mappings, as DVC shows metrics.

        Without lists, which DVC leaves out, and without numbers that there are not.
        """
        frontier = self.data.frontier
        points = {} if frontier is None else {point.name: point for point in frontier.points}
        return {
            difference["second"]: {
                "against": difference["first"],
                "memorization": {
                    name: _numbers(difference["statistics"][name]) for name in _SHOWN_BY_DVC
                },
                "held_out_log_likelihood": _numbers(difference["held_out_log_likelihood"]),
                "verdict": points[difference["second"]].verdict,
            }
            for difference in self.json["differences"]
            if "problem" not in difference
        }


def compare_experiments(
    experiments: Sequence[Trade],
    *,
    baseline: str | None = None,
    statistic: str = "q99.9",
    images: Pictures | None = None,
    removals: Sequence[Removal] = (),
) -> Compared:
    """Set experiments side by side: headline numbers, differences from the baseline, the frontier.

    Args:
        experiments: With their scores at all epochs.
        baseline: Name of the one that the others are compared with; the first when None.
        statistic: One of `FRONTIER_STATISTICS`, for the frontier.
        images: Of the baseline's observations, row `index`.
        removals: Those whose remaining observations are looked at by themselves.
    """
    first = next((e for e in experiments if e.name == baseline), experiments[0])
    pairs = [
        (first, other, _difference(first, other)) for other in experiments if other is not first
    ]
    trades = [first]
    trades += [
        replace(other, difference=found) for _, other, found in pairs if not isinstance(found, str)
    ]
    doubts = [(e.name, doubt) for e in experiments for doubt in score_doubts(e.scores)]
    found = frontier(trades, first.name, statistic, images) if len(trades) > 1 else None
    return Compared(
        ComparisonData(
            experiments=[_page_entry(experiment) for experiment in experiments],
            intervals=_without_intervals(experiments),
            differences=[_page_difference(*pair) for pair in pairs],
            warnings=[
                *_by_kind(doubts),
                *_uneven_power(experiments),
                *(
                    words
                    for _, other, problem in pairs
                    if not isinstance(problem, str)
                    and (words := _partly_shared(first, other)) is not None
                ),
            ],
            frontier=found,
            remainders=_remainders(trades, removals),
        ),
        {
            "experiments": {
                e.name: metrics(summarize(e.scores))
                | {"warnings": doubts_as_json([d for name, d in doubts if name == e.name])}
                for e in experiments
            },
            "differences": [_json_difference(*pair) for pair in pairs],
            "frontier": [] if found is None else [asdict(point) for point in found.points],
        },
    )


def find_removals(project: ProjectSpec | None) -> list[Removal]:
    """Experiments that remove observations, each with one that is the same but for that."""
    if project is None:
        return []
    return [
        Removal(name, twin, removal.of)
        for name, spec in project.experiments.items()
        if (removal := spec.removal) is not None
        for twin in [_twin(project, spec)]
        if twin is not None
    ]


def _difference(first: Trade, second: Trade) -> Comparison | str:
    """Compare the second with the first, or say why that cannot be done."""
    if first.facts.get("data") != second.facts.get("data"):
        return "they were scored on different data sets"
    if first.facts.get(SPACE_FACT) != second.facts.get(SPACE_FACT):
        return "their log p are densities in different spaces"
    a, b = _shared(first, second)
    same_partitions = first.facts.get("partitions") == second.facts.get("partitions")
    try:
        return compare_scores(a, b, same_partitions=same_partitions)
    except ScoringError as error:
        return str(error)


def _shared(first: Trade, second: Trade) -> tuple[Scores, Scores]:
    """Scores at the last epochs, of the observations that both have scores of."""
    a, b = first.scores.last, second.scores.last
    return a.among(b.index), b.among(a.index)


def _partly_shared(first: Trade, second: Trade) -> str | None:
    """Sentences where a comparison leaves observations out, since one side has no score."""
    counts = [len(side.scores.last) for side in (first, second)]
    shared = len(_shared(first, second)[0])
    if shared == max(counts):
        return None
    return (
        f"{first.name} and {second.name} share {shared:,} of {counts[0]:,} and {counts[1]:,} "
        "scored observations; their differences are over those."
    )


def _by_kind(doubts: Sequence[tuple[str, Doubt]]) -> list[str]:
    """Say each kind of doubt once, of the first experiment, and name the others that share it."""
    of_kind: dict[str, list[tuple[str, Doubt]]] = {}
    for name, doubt in doubts:
        of_kind.setdefault(doubt.kind, []).append((name, doubt))
    sentences = []
    for (name, doubt), *others in of_kind.values():
        also = ", ".join(other for other, _ in others)
        shared = f" Likewise, with other numbers: {also}." if also else ""
        sentences.append(f"{name}: {doubt.words}{shared}")
    return sentences


def _without_intervals(experiments: Sequence[Trade]) -> str:
    """Say which experiments' statistics of memorization have no intervals, and why."""
    reasons: dict[str, list[str]] = {}
    for experiment in experiments:
        at = experiment.scores.last
        if at.exact:
            reasons.setdefault("they are exact", []).append(experiment.name)
        elif not at.by_mean_logs:
            reasons.setdefault("they are by `aggregate: paper`", []).append(experiment.name)
        elif at.blocks < 2 or not np.isfinite(at.column("std_error")).any():
            reasons.setdefault("there is one repeat", []).append(experiment.name)
    return " ".join(
        f"Of {', '.join(names)} scores have no intervals: {reason}."
        for reason, names in reasons.items()
    )


def _uneven_power(experiments: Sequence[Trade]) -> list[str]:
    """A sentence where shares of significant scores come from designs that tell unlike much."""
    blocks = {e.name: e.scores.last.blocks for e in experiments if not e.scores.last.exact}
    if len(set(blocks.values())) < 2:
        return []
    counts = ", ".join(f"{name} {count}" for name, count in blocks.items())
    return [
        "Shares of significantly memorized observations cannot be compared here: they grow with "
        f"the number of models, and the experiments have unlike many repeats or blocks ({counts}). "
        "Compare quantiles."
    ]


def _twin(project: ProjectSpec, spec: ExperimentSpec) -> str | None:
    rest = [m.model_dump() for m in spec.mitigations if m.kind != "remove"]
    wanted = spec.model_dump(exclude={"title", "mitigations"}) | {"mitigations": rest}
    return next(
        (
            name
            for name, other in project.experiments.items()
            if other.model_dump(exclude={"title"}) == wanted
        ),
        None,
    )


def _remainders(trades: Sequence[Trade], removals: Sequence[Removal]) -> list[Remainder]:
    by_name = {trade.name: trade for trade in trades}
    return [
        remainder(
            by_name[removal.name],
            by_name[removal.twin],
            removal.of,
            chosen_by_twin=removal.of == removal.twin,
        )
        for removal in removals
        if {removal.name, removal.twin} <= set(by_name) and "removed" in by_name[removal.name].facts
    ]


def _page_entry(experiment: Trade) -> ComparedExperiment:
    return ComparedExperiment(
        name=experiment.name,
        title=experiment.title,
        headlines=summary_headlines(summarize(experiment.scores)),
        scores=experiment.scores.last.table,
        quantiles=quantile_curve(experiment.scores),
    )


def _page_difference(first: Trade, second: Trade, found: Comparison | str) -> Difference:
    if isinstance(found, str):
        return Difference(first.name, second.name, problem=found)
    return Difference(first.name, second.name, difference_headlines(found), found.rank_correlation)


def _numbers(estimate: Mapping[str, float | None]) -> dict[str, float]:
    """A difference and the ends of its interval, where it has one."""
    found = ((key, estimate[key]) for key in ("value", "low", "high"))
    return {key: x for key, x in found if x is not None and math.isfinite(x)}


def _json_difference(first: Trade, second: Trade, found: Comparison | str) -> dict[str, Any]:
    outcome = {"problem": found} if isinstance(found, str) else asdict(found)
    return {"first": first.name, "second": second.name, **outcome}
