"""What an experiment removes: the observations that another one memorized most."""

import numpy as np
import polars as pl

from memo.artifacts.files import ArtifactError
from memo.artifacts.layout import Layout
from memo.artifacts.score_tables import read_scores_file
from memo.design.k_fold import IndexArray
from memo.project.project_spec import ExperimentSpec
from memo.scores.table import Scores

__all__ = ["NOTHING", "removed_observations"]

NOTHING: IndexArray = np.empty(0, np.int64)


def removed_observations(layout: Layout, spec: ExperimentSpec, data_hash: str) -> IndexArray:
    """Indices of what is removed, sorted, by the other experiment's scores at its last epoch.

    Raises:
        ArtifactError: The other experiment is not scored yet, or on another data set.
    """
    removal = spec.removal
    if removal is None:
        return NOTHING
    file = layout.scores(removal.of)
    if not file.is_file():
        raise ArtifactError(f"{file}: experiment {removal.of!r} is not scored yet; run: dvc repro")
    scores, facts = read_scores_file(file)
    if facts.get("data") != data_hash:
        raise ArtifactError(f"{file}: belongs to another data set; run: dvc repro")
    ranked = Scores(scores).ranked
    if removal.quantile is None:
        chosen = ranked.head(removal.count or 0)
    else:
        level = np.quantile(ranked["memorization"].to_numpy(), removal.quantile)
        chosen = ranked.filter(pl.col("memorization") > level)
    return np.sort(chosen["index"].to_numpy())
