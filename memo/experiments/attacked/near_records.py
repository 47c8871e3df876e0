"""From an experiment's tables of log-likelihoods to the influence of near records on each other."""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from memo.artifacts.fingerprints import fingerprint
from memo.attacks.influence import INFLUENCE, explained_by_neighbors, influences, pairs_in_words
from memo.experiments.attacked.attacking import attacks_fingerprint
from memo.experiments.experiment import Experiment
from memo.experiments.log_likelihoods import scored_densities
from memo.report.page_data import TwinData
from memo.samples.nearest_others import CANDIDATES, DIRECTIONS, nearest_others
from memo.scores.table import Scores

NEIGHBORS = 3
"""Near records whose influence on each is measured."""

CLOSED_FORM = (
    "The design leaves out each observation alone and in closed form, and cannot tell whether near "
    "records explain each other: subsets, as {kind: subsets, fraction: 0.5, models: 40}, can."
)


def influence_of_neighbors(
    experiment: Experiment,
    tables: Sequence[pl.DataFrame],
    scores: Scores,
    advance: Callable[[int], object] = lambda done: None,
) -> pl.DataFrame:
    """Influence of the nearest other records on each, at the last scored epoch.

    Distances are between the values as they were given, before noise. A model's own training set
    counts, after mitigations; what they change of a density when it is released does not.

    Args:
        experiment: Whose models they are.
        tables: Log-likelihoods under each of its `scored_densities`.
        scores: Its memorization scores.
        advance: Told of how many more observations the nearest are found.

    Returns:
        Columns of `memo.attacks.influence.INFLUENCE`; no rows where no models are trained on parts.
    """
    if experiment.design.closed_form:
        return pl.DataFrame(schema=INFLUENCE)
    densities = scored_densities(experiment)
    at = [table.filter(pl.col("epoch") == experiment.last_epoch) for table in tables]
    log_likelihood, std_error = (
        np.stack([table[column].to_numpy() for table in at])
        for column in ("log_likelihood", "std_error")
    )
    index = np.arange(len(experiment.data))
    members = np.stack([np.isin(index, density.model.members) for density in densities])
    block = np.array([density.block for density in densities], np.int64)
    near = nearest_others(experiment.data.given_values, NEIGHBORS, advance=advance)
    pairs = np.column_stack([np.repeat(index, near.index.shape[1]), near.index.ravel()])
    found = influences(log_likelihood, std_error, members, block, pairs)
    memorization = scores.last.column("memorization")
    return explained_by_neighbors(
        found, near.distance.ravel(), near.proven.ravel(), memorization, scores.threshold
    )


def pairs_of(experiment: Experiment) -> int:
    """Number of pairs whose influence is measured."""
    n = len(experiment.data)
    return 0 if experiment.design.closed_form else n * min(NEIGHBORS, n - 1)


def influence_fingerprint(experiment: Experiment) -> str:
    """A hash of everything that determines the influence of near records."""
    scoring = experiment.spec.scoring
    return fingerprint({"attacks": attacks_fingerprint(experiment), "threshold": scoring.threshold})


def twin_data(influence: pl.DataFrame) -> TwinData:
    """Pairs of near records as the page shows them."""
    if not len(influence):
        return TwinData(influence, CLOSED_FORM)
    return TwinData(influence, pairs_in_words(influence) + _unproven_in_words(influence))


def _unproven_in_words(influence: pl.DataFrame) -> str:
    """Say how near records were found; nothing where all pairs were compared."""
    if influence["proven"].all():
        return ""
    first = influence.group_by("index", maintain_order=True).first()
    return (
        f" Near records are the nearest of {CANDIDATES} candidates by {DIRECTIONS} principal "
        f"directions: of {first['proven'].sum():,} of {len(first):,} observations none can be "
        "nearer than the first; of others a nearer one may be missed (of 0.1% of MNIST's images "
        "it is), copies are not."
    )
