"""Densities with and without one observation on a grid, where observations are that small."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.datasets.tabular.columns import Column, log_jacobian
from memo.design.seeds import Stream, seed_sequence, substreams
from memo.pipeline.experiment import Experiment
from memo.report.page_data import Illustration
from memo.scores.table import Scores

__all__ = ["illustrate"]

FloatArray = NDArray[np.float64]

GRID = {1: 300, 2: 56}
"""Points along each axis, by the number of axes."""
MARGIN = 0.15
"""Share of the observations' range that the grid goes beyond them."""
FEWEST, MOST, ONE_OF = 8, 200, 20
"""The overfitted density sees one observation in 20, but no fewer or more than so many."""
SHOWN = 1000
"""Observations drawn into the figure, beside the one that it is about."""


def illustrate(experiment: Experiment, scores: pl.DataFrame) -> Illustration | None:
    """Memorization of the most memorized observation, beside overfitting to a few of them.

    With and without: the mean density of equally many fold models that had the observation and that
    held it out; in a closed form the full model's and a refit's. Overfitted: the same training on
    few observations, for as many steps.

    Args:
        experiment: A trained one.
        scores: Its scores; the last scored epoch is illustrated.

    Returns:
        None where observations are not one or two real numbers.

    Raises:
        ArtifactError: A model's file is missing or damaged.
    """
    columns = prod(experiment.data.shape)
    if columns not in GRID or not _is_numeric(experiment):
        return None
    from memo.pipeline.model_densities import ModelDensities  # noqa: PLC0415 -- torch takes a second

    trained_on = experiment.training_members(np.empty(0, np.int64))
    row = Scores(scores).among(trained_on).ranked.row(0, named=True)
    choice, training, likelihood = substreams(
        seed_sequence(experiment.spec.seed, Stream.ILLUSTRATION), 3
    )
    others = np.random.Generator(np.random.PCG64(choice)).permutation(
        trained_on[trained_on != row["index"]]
    )
    rows = np.array(experiment.data.scored[:], np.float64).reshape(-1, columns)
    points = rows[np.concatenate([[row["index"]], others[:SHOWN]])]
    axes = [_axis(column, GRID[columns]) for column in rows.T]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, columns)
    densities = ModelDensities(experiment, np.concatenate([grid, points]), training, likelihood)
    inside, outside = densities.with_and_without(row["index"])
    illustration = Illustration(
        axes=axes,
        points=points,
        name=row["id"],
        log_p_with=inside,
        log_p_without=outside,
        models=densities.models,
        estimated=densities.estimated,
        overfitted=densities.overfitted(others[: min(MOST, max(FEWEST, len(others) // ONE_OF))]),
    )
    table = experiment.data.columns
    return illustration if table is None else _in_own_units(illustration, table)


def _is_numeric(experiment: Experiment) -> bool:
    table = experiment.data.columns
    if table is None:
        return experiment.spec.model.support == "continuous"
    return all(column.categories is None for column in table)


def _in_own_units(shown: Illustration, columns: Sequence[Column]) -> Illustration:
    """The same, of a table's numbers as they were before they were standardized."""
    mean, scale = (np.array([getattr(c, name) for c in columns]) for name in ("mean", "scale"))
    change = log_jacobian(columns)
    few = shown.overfitted
    return replace(
        shown,
        axes=[m + s * axis for m, s, axis in zip(mean, scale, shown.axes, strict=True)],
        points=mean + scale * shown.points,
        log_p_with=shown.log_p_with + change,
        log_p_without=shown.log_p_without + change,
        overfitted=few if isinstance(few, str) else replace(few, log_p=few.log_p + change),
        titles=[column.name for column in columns],
    )


def _axis(values: FloatArray, count: int) -> FloatArray:
    margin = MARGIN * np.ptp(values)
    return np.linspace(values.min() - margin, values.max() + margin, count)
