"""compare: scores of several experiments -> reports/compare/."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from memo.artifacts import SCORES, ArtifactError, Facts, Layout, parse_table, write_whole
from memo.errors import InputError
from memo.report import ComparedExperiment, ComparisonData, Difference, render_comparison
from memo.scores import Comparison, ScoringError, compare_scores, quantile_curve, summarize
from memo.spec import ProjectSpec, select_experiment
from memo.stages.headlines import difference_headlines, summary_headlines
from memo.stages.report import metrics

__all__ = ["Compared", "compare", "revision_scores", "workspace_scores", "write_comparison"]


@dataclass(frozen=True)
class Scored:
    """An experiment's scores, and what they were computed from."""

    name: str
    title: str
    scores: pl.DataFrame
    facts: Facts


@dataclass(frozen=True)
class Compared:
    """Several experiments side by side."""

    data: ComparisonData
    json: dict[str, Any]


def workspace_scores(project: ProjectSpec, layout: Layout, names: Sequence[str]) -> list[Scored]:
    """Scores of experiments as they lie in the project.

    Raises:
        SpecError: There is no such experiment.
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


def compare(experiments: Sequence[Scored]) -> Compared:
    """Each experiment's headline numbers, and how each differs from the first."""
    first, *others = experiments
    pairs = [(first, other, _difference(first, other)) for other in others]
    return Compared(
        ComparisonData(
            experiments=[_page_entry(experiment) for experiment in experiments],
            differences=[_page_difference(*pair) for pair in pairs],
        ),
        {
            "experiments": {e.name: metrics(summarize(e.scores)) for e in experiments},
            "differences": [_json_difference(*pair) for pair in pairs],
        },
    )


def write_comparison(layout: Layout, compared: Compared) -> Path:
    """Write comparison.json, the page and its charts; returns the page's path."""
    content = json.dumps(compared.json, indent=2) + "\n"
    files = {"comparison.json": content.encode(), **render_comparison(compared.data)}
    for name, body in files.items():
        write_whole(layout.comparison / name, body)
    return layout.comparison / "index.html"


def _workspace_scores(project: ProjectSpec, layout: Layout, name: str) -> Scored:
    spec = select_experiment(project, name)
    file = layout.scores(name)
    if not file.is_file():
        raise ArtifactError(f"{file}: experiment {name!r} is not scored yet; run: dvc repro")
    scores, facts = parse_table(file.read_bytes(), SCORES, file)
    return Scored(name, spec.title or name, scores, facts)


def _revision_scores(layout: Layout, name: str, revision: str) -> Scored:
    import dvc.api  # noqa: PLC0415 -- it takes a second to import, and is needed here alone
    from dvc.exceptions import DvcException  # noqa: PLC0415

    path = layout.scores(name).relative_to(layout.root).as_posix()
    try:
        content = dvc.api.read(path, repo=str(layout.root), rev=revision, mode="rb")
    except (DvcException, OSError) as error:
        raise InputError(f"{path} at revision {revision!r}: {error}") from error
    scores, facts = parse_table(content, SCORES, Path(f"{path}@{revision}"))
    label = f"{name}@{revision}"
    return Scored(label, label, scores, facts)


def _difference(first: Scored, second: Scored) -> Comparison | str:
    """How the second differs from the first, or why that cannot be said."""
    if first.facts.get("data") != second.facts.get("data"):
        return "they were scored on different data sets"
    same_partitions = first.facts.get("partitions") == second.facts.get("partitions")
    try:
        return compare_scores(
            _last_epoch(first.scores), _last_epoch(second.scores), same_partitions=same_partitions
        )
    except ScoringError as error:
        return str(error)


def _last_epoch(scores: pl.DataFrame) -> pl.DataFrame:
    return scores.filter(pl.col("epoch") == pl.col("epoch").max())


def _page_entry(experiment: Scored) -> ComparedExperiment:
    return ComparedExperiment(
        name=experiment.name,
        title=experiment.title,
        headlines=summary_headlines(summarize(experiment.scores)),
        scores=_last_epoch(experiment.scores),
        quantiles=quantile_curve(experiment.scores),
    )


def _page_difference(first: Scored, second: Scored, found: Comparison | str) -> Difference:
    if isinstance(found, str):
        return Difference(first.name, second.name, problem=found)
    return Difference(first.name, second.name, difference_headlines(found), found.rank_correlation)


def _json_difference(first: Scored, second: Scored, found: Comparison | str) -> dict[str, Any]:
    outcome = {"problem": found} if isinstance(found, str) else asdict(found)
    return {"first": first.name, "second": second.name, **outcome}
