"""show: an experiment's headline and its most memorized observations, as they were scored."""

import polars as pl

from memo.artifacts.layout import Layout
from memo.artifacts.score_tables import read_scores_file
from memo.errors import InputError
from memo.pipeline.experiment import load_experiment
from memo.pipeline.report import read_scores
from memo.project.project_spec import ProjectSpec
from memo.scores.summaries import Summary, scored_epoch, summarize

__all__ = ["most_memorized", "scores_of", "show"]


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
    epoch = scored_epoch(scores["epoch"].unique(), epoch)
    at = scores.filter(pl.col("epoch") == epoch)
    if label is not None and not (at["label"] == label).any():
        labels = at["label"].drop_nulls().unique().sort().head(20).to_list()
        raise InputError(f"no observation has the label {label!r}; labels are {', '.join(labels)}")
    chosen = at if label is None else at.filter(pl.col("label") == label)
    return summarize(scores, epoch), most_memorized(chosen, top)


def most_memorized(scores: pl.DataFrame, top: int) -> pl.DataFrame:
    """The `top` observations with the highest scores."""
    return (
        scores.sort("memorization", "index", descending=[True, False])
        .select(
            "index",
            "id",
            "label",
            "memorization",
            "std_error",
            "log_p_in",
            "log_p_out",
            "unreliable_models",
        )
        .head(top)
    )
