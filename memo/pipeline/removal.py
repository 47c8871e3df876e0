"""Removal of observations by the scores of another experiment."""

import polars as pl

from memo.artifacts.files import ArtifactError
from memo.artifacts.layout import Layout
from memo.artifacts.score_tables import read_scores_file
from memo.project.experiment_spec import ExperimentSpec


def with_removal(spec: ExperimentSpec, layout: Layout, data_hash: str) -> ExperimentSpec:
    """Complete a mitigation that removes observations by the other experiment's scores.

    Raises:
        ArtifactError: The other experiment is not scored yet, or on another data set.
    """
    removal = spec.removal
    if removal is None:
        return spec
    file = layout.scores(removal.of)
    if not file.is_file():
        raise ArtifactError(f"{file}: experiment {removal.of!r} is not scored yet; run: dvc repro")
    try:
        scores = read_scores_file(file)
    except ArtifactError as error:
        raise ArtifactError(f"{error}; run: memo score {removal.of}") from None
    if scores.facts.get("data") != data_hash:
        raise ArtifactError(f"{file}: belongs to another data set; run: dvc repro")
    ranked = scores.ranked.with_columns(memorization=pl.col(scores.last.ranking))
    complete = removal.with_scores(ranked)
    mitigations = [complete if m is removal else m for m in spec.mitigations]
    return spec.model_copy(update={"mitigations": mitigations})
