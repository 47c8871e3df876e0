"""Observations in memory as a prepared data set."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from memo.datasets.copies import with_copies
from memo.datasets.prepared import DataError, Prepared, check_prepared, named_observations
from memo.spec.base import Support

LEVELS = 256


def prepare_array(
    values: ArrayLike, ids: Sequence[object] | None, labels: Sequence[object] | None
) -> Prepared:
    """An array as a data set whose values are scored as they are.

    Args:
        values: (n, *shape). Integers or booleans that are all 0 or 1 are binary, other integers
            from 0 to 255 are levels, and all else are real numbers in float32, also floats that
            are all 0 or 1.
        ids: Name of each observation; its position when None.
        labels: Label of each observation.

    Raises:
        DataError: The values are not an array of numbers, are not finite, or are fewer than two
            observations or all the same; or there are more or fewer names or labels.
    """
    numbers = _numbers(values)
    scored = _typed(numbers)
    observations = observation_table(len(scored), ids, labels)
    white = int(scored.max(initial=1)) if scored.dtype == np.uint8 else 1
    prepared = Prepared(scored, observations, white=white, facts={"source": "an array"})
    return with_copies(check_prepared(prepared, "values"))


def observation_table(
    count: int, ids: Sequence[object] | None, labels: Sequence[object] | None
) -> pl.DataFrame:
    """Table of `index`, `id` and `label` of observations.

    Args:
        count: Number of observations.
        ids: Name of each observation; its position when None.
        labels: Label of each observation.

    Raises:
        DataError: There are more or fewer names or labels, or two names are the same.
    """
    named = _texts("ids", range(count) if ids is None else ids, count)
    table = named_observations(named, _texts("labels", labels, count))
    if table["id"].n_unique() < count:
        raise DataError("ids: two observations have the same")
    return table


def support_of(prepared: Prepared) -> Support:
    """Values that a density of an array's observations must be defined on."""
    if prepared.scored.dtype != np.uint8:
        return "continuous"
    return "binary" if prepared.white == 1 else "levels"


def _numbers(values: ArrayLike) -> NDArray[Any]:
    if np.ma.is_masked(values):
        raise DataError("values: some are masked; leave those observations out, or fill them in")
    try:
        numbers = np.asarray(values)
    except (TypeError, ValueError) as error:  # ragged lists, tensors on another device
        raise DataError(f"values: are not an array: {error}") from None
    if numbers.dtype.kind not in "biuf":
        raise DataError(
            f"values: are of type {numbers.dtype}, not numbers; of a table with text or dates, "
            "write a data set of kind 'table'"
        )
    if numbers.ndim < 2:
        raise DataError(
            f"values: have shape {numbers.shape}, not (observations, ...); "
            "a single column is values[:, None]"
        )
    if 0 in numbers.shape[1:]:
        raise DataError(f"values: have shape {numbers.shape}; an observation has no numbers")
    return numbers


def _typed(numbers: NDArray[Any]) -> NDArray[Any]:
    if numbers.dtype.kind != "f" and ((numbers >= 0) & (numbers < LEVELS)).all():
        return numbers.astype(np.uint8)
    with np.errstate(over="ignore"):
        scored: NDArray[np.float32] = numbers.astype(np.float32)
    wrong = ~np.isfinite(scored).all(axis=tuple(range(1, scored.ndim)))
    if wrong.any():
        raise DataError(
            f"values: {int(wrong.sum()):,} observations have values that are not finite in "
            f"float32; the first is observation {int(wrong.argmax())}"
        )
    return scored


def _texts(what: str, given: Sequence[object] | None, count: int) -> list[str | None]:
    if given is None:
        return [None] * count
    if len(given) != count:
        raise DataError(f"{what}: are {len(given):,}, of {count:,} observations")
    return [None if one is None else str(one) for one in given]
