"""compare: scores of several experiments -> reports/compare/."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.artifacts.files import ArtifactError, write_whole
from memo.artifacts.layout import Layout
from memo.artifacts.score_tables import parse_scores, read_scores_file
from memo.artifacts.tables import Facts
from memo.artifacts.training_seconds import read_seconds
from memo.commands.revision import Revision
from memo.datasets.pictures import pictures
from memo.pipeline.prepare import read_prepared
from memo.pipeline.trade_off import Trade, frontier, remainder
from memo.project.project_spec import ExperimentSpec, ProjectSpec
from memo.report.comparison_page import render_comparison
from memo.report.headlines import difference_headlines, metrics, summary_headlines
from memo.report.page_data import ComparedExperiment, ComparisonData, Difference, Remainder
from memo.scores.comparison import Comparison, ScoringError, compare_scores
from memo.scores.summaries import quantile_curve, summarize
from memo.scores.table import Scores

__all__ = [
    "Compared",
    "Removal",
    "Scored",
    "baseline_images",
    "compare",
    "find_removals",
    "revision_scores",
    "workspace_scores",
    "write_comparison",
]


@dataclass(frozen=True)
class Scored:
    """An experiment's scores, and what they were computed from."""

    name: str
    title: str
    scores: pl.DataFrame
    facts: Facts
    seconds: float | None = None
    """Of training one model, on average."""


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


def workspace_scores(
    project: ProjectSpec | None, layout: Layout, names: Sequence[str]
) -> list[Scored]:
    """Scores of experiments, and of tables of log-likelihoods, as they lie in the project.

    Raises:
        ArtifactError: One is not scored yet, or its table is damaged.
    """
    return [_workspace_scores(project, layout, name) for name in names]


def revision_scores(layout: Layout, names: Sequence[str], revision: str) -> list[Scored]:
    """Scores of experiments as they were tracked at a git revision.

    Raises:
        InputError: The revision or its outputs cannot be had.
        ArtifactError: A table is damaged.
    """
    return [_revision_scores(layout, name, revision) for name in names]


def compare(
    experiments: Sequence[Scored],
    *,
    baseline: str | None = None,
    statistic: str = "q99.9",
    images: NDArray[np.uint8] | None = None,
    removals: Sequence[Removal] = (),
) -> Compared:
    """Each experiment's headline numbers, how each differs from the baseline, and their frontier.

    Args:
        experiments: With their scores.
        baseline: Name of the one that the others are compared with; the first when None.
        statistic: A name in `memo.scores.STATISTICS`, for the frontier.
        images: Of the baseline's observations, row `index`.
        removals: Those whose remaining observations are looked at by themselves.
    """
    first = next((e for e in experiments if e.name == baseline), experiments[0])
    pairs = [(first, other, _difference(first, other)) for other in experiments if other != first]
    trades = [_trade(first, None)]
    trades += [_trade(other, found) for _, other, found in pairs if not isinstance(found, str)]
    found = frontier(trades, first.name, statistic, images) if len(trades) > 1 else None
    return Compared(
        ComparisonData(
            experiments=[_page_entry(experiment) for experiment in experiments],
            differences=[_page_difference(*pair) for pair in pairs],
            warnings=[
                words
                for _, other, problem in pairs
                if not isinstance(problem, str)
                and (words := _partly_shared(first, other)) is not None
            ],
            frontier=found,
            remainders=_remainders(trades, removals),
        ),
        {
            "experiments": {e.name: metrics(summarize(e.scores)) for e in experiments},
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


def baseline_images(
    project: ProjectSpec | None, layout: Layout, baseline: Scored
) -> NDArray[np.uint8] | None:
    """The observations of an experiment as pictures; None where they are not images.

    Raises:
        ArtifactError: The data set is not prepared, or damaged.
    """
    spec = _spec(project, baseline.name)
    dataset = baseline.facts.get("dataset") if spec is None else spec.dataset
    if project is None or dataset not in project.datasets:
        return None
    data, data_hash = read_prepared(layout, dataset)
    return pictures(data) if baseline.facts.get("data") == data_hash else None


def write_comparison(layout: Layout, compared: Compared) -> Path:
    """Write comparison.json, the page and its charts; returns the page's path."""
    content = json.dumps(compared.json, indent=2) + "\n"
    files = {"comparison.json": content.encode(), **render_comparison(compared.data)}
    for name, body in files.items():
        write_whole(layout.comparison / name, body)
    return layout.comparison / "index.html"


def _spec(project: ProjectSpec | None, name: str) -> ExperimentSpec | None:
    return None if project is None else project.experiments.get(name)


def _workspace_scores(project: ProjectSpec | None, layout: Layout, name: str) -> Scored:
    spec = _spec(project, name)
    file = layout.scores(name)
    if not file.is_file():
        raise ArtifactError(f"{file}: experiment {name!r} is not scored yet; run: dvc repro")
    scores, facts = read_scores_file(file)
    models = [
        value
        for model, value in read_seconds(layout.seconds(name)).items()
        if model != name  # the full model is not one of those that are compared
    ]
    seconds = sum(models) / len(models) if models else None
    title = None if spec is None else spec.title
    return Scored(name, title or name, scores, facts, seconds)


def _revision_scores(layout: Layout, name: str, revision: str) -> Scored:
    file, label = layout.scores(name), f"{name}@{revision}"
    content = Revision(layout.root, revision).read(file)
    scores, facts = parse_scores(content, Path(f"{file}@{revision}"))
    return Scored(label, label, scores, facts)


def _difference(first: Scored, second: Scored) -> Comparison | str:
    """How the second differs from the first, or why that cannot be said."""
    if first.facts.get("data") != second.facts.get("data"):
        return "they were scored on different data sets"
    a, b = _shared(first, second)
    same_partitions = first.facts.get("partitions") == second.facts.get("partitions")
    try:
        return compare_scores(Scores(a), Scores(b), same_partitions=same_partitions)
    except ScoringError as error:
        return str(error)


def _shared(first: Scored, second: Scored) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Scores at the last epochs, of the observations that both have scores of."""
    a, b = _last_epoch(first.scores), _last_epoch(second.scores)
    return a.join(b, on="index", how="semi"), b.join(a, on="index", how="semi")


def _partly_shared(first: Scored, second: Scored) -> str | None:
    """What to say where a comparison leaves observations out, since one side has no score."""
    counts = [len(_last_epoch(side.scores)) for side in (first, second)]
    shared = len(_shared(first, second)[0])
    if shared == max(counts):
        return None
    return (
        f"{first.name} and {second.name} share {shared:,} of {counts[0]:,} and {counts[1]:,} "
        "scored observations; their differences are over those."
    )


def _last_epoch(scores: pl.DataFrame) -> pl.DataFrame:
    return Scores(scores).last.table


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


def _trade(experiment: Scored, difference: Comparison | None) -> Trade:
    return Trade(
        experiment.name,
        experiment.title,
        _last_epoch(experiment.scores),
        experiment.facts,
        difference,
        experiment.seconds,
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


def _page_entry(experiment: Scored) -> ComparedExperiment:
    return ComparedExperiment(
        name=experiment.name,
        title=experiment.title,
        headlines=summary_headlines(summarize(experiment.scores)),
        scores=_last_epoch(experiment.scores),
        quantiles=quantile_curve(Scores(experiment.scores)),
    )


def _page_difference(first: Scored, second: Scored, found: Comparison | str) -> Difference:
    if isinstance(found, str):
        return Difference(first.name, second.name, problem=found)
    return Difference(first.name, second.name, difference_headlines(found), found.rank_correlation)


def _json_difference(first: Scored, second: Scored, found: Comparison | str) -> dict[str, Any]:
    outcome = {"problem": found} if isinstance(found, str) else asdict(found)
    return {"first": first.name, "second": second.name, **outcome}
