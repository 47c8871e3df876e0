"""show: an experiment's headline and its most memorized observations, as they were scored."""

import polars as pl

from memo.artifacts.layout import Layout
from memo.artifacts.score_tables import read_scores_file
from memo.pipeline.stored_experiment import load_experiment
from memo.project.project_spec import ProjectSpec
from memo.scores.summaries import Summary, summarize


def show(
    project: ProjectSpec | None,
    layout: Layout,
    name: str,
    *,
    top: int,
    label: str | None,
    epoch: int | None,
) -> tuple[Summary, pl.DataFrame]:
    """Summarize all observations of an experiment, or of a table; list the most memorized.

    Args:
        project: The project; None in a folder that has only the scores of tables.
        layout: Where files lie.
        name: The experiment, or the scores of a table.
        top: How many observations to list.
        label: List only observations that have it.
        epoch: A scored epoch; the last one when None.

    Raises:
        ArtifactError: Scores are missing, damaged, or an experiment's of another spec.
        InputError: The epoch was not scored, or no observation has the label.
    """
    if project is not None and name in project.experiments:
        scores = load_experiment(project, layout, name).read_scores()
    else:
        scores = read_scores_file(layout.scores(name))
    at = scores.at(epoch)
    return summarize(at), at.most_memorized(top, label)
