"""show: an experiment's headline and its most memorized observations, as they were scored."""

from typing import NamedTuple

import polars as pl

from memo.artifacts.layout import Layout
from memo.artifacts.score_tables import read_scores_file
from memo.experiments.doubts import Doubt, repeat_doubts, score_doubts
from memo.pipeline.stored_experiment import load_experiment, made_by
from memo.project.project_spec import ProjectSpec
from memo.scores.groups import listed_groups
from memo.scores.summaries import Summary, summarize


class Shown(NamedTuple):
    """Results of an experiment, or of a table."""

    summary: Summary
    rows: pl.DataFrame
    """The most memorized observations."""
    doubts: list[Doubt]
    """Reasons not to trust them."""
    groups: pl.DataFrame | None
    """The most memorized groups, columns as in `GROUP_SCORES`; None where there are none."""


def show(
    project: ProjectSpec | None,
    layout: Layout,
    name: str,
    *,
    top: int,
    label: str | None,
    epoch: int | None,
) -> Shown:
    """Summarize all observations of an experiment, or of a table; list the most memorized.

    Args:
        project: The project; None in a folder that has only the scores of tables.
        layout: Where files lie.
        name: The experiment, or the scores of a table.
        top: How many observations to list, and how many groups.
        label: List only observations that have it.
        epoch: A scored epoch; the last one when None.

    Raises:
        ArtifactError: Scores are missing, damaged, or an experiment's of another spec.
        InputError: The epoch was not scored, or no observation has the label.
    """
    if project is not None and name in project.experiments:
        scores = load_experiment(project, layout, name).read_scores()
    else:
        with made_by(f"memo score {name} --from TABLE"):
            scores = read_scores_file(layout.scores(name))
    at = scores.at(epoch)
    summary = summarize(at)
    doubts = [*score_doubts(at), *repeat_doubts(summary)]
    groups = listed_groups(at)
    return Shown(
        summary,
        at.most_memorized(top, label),
        doubts,
        None if groups is None else groups.head(top),
    )
