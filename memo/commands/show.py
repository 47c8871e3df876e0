"""show: an experiment's headline and its most memorized observations, as they were scored."""

import polars as pl

from memo.artifacts.layout import Layout
from memo.artifacts.score_tables import read_scores_file
from memo.pipeline.experiment import load_experiment
from memo.pipeline.report import read_scores
from memo.project.project_spec import ProjectSpec
from memo.scores.summaries import Summary, summarize
from memo.scores.table import Scores

__all__ = ["scores_of", "show"]


def scores_of(project: ProjectSpec | None, layout: Layout, name: str) -> pl.DataFrame:
    """Scores of an experiment, or of a table of log-likelihoods.

    Raises:
        ArtifactError: They are missing, damaged, or an experiment's of another spec.
    """
    if project is not None and name in project.experiments:
        return read_scores(load_experiment(project, layout, name))[0]
    return read_scores_file(layout.scores(name))[0]


def show(
    scores: pl.DataFrame, *, top: int, label: str | None, epoch: int | None
) -> tuple[Summary, pl.DataFrame]:
    """Headline statistics over all observations, and the `top` most memorized of a label.

    Raises:
        InputError: The epoch was not scored, or no observation has the label.
    """
    at = Scores(scores).at(epoch)
    return summarize(at), at.most_memorized(top, label)
