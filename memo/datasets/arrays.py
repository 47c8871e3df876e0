"""Observations in memory as a prepared data set."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from memo.datasets.copies import with_copies
from memo.datasets.lost_digits import first_merged
from memo.datasets.prepared import DataError, Prepared, check_prepared, named_observations
from memo.spec.base import Support

LEVELS = 256
COMPARED = 20_000
"""Most observations whose numbers are compared before and after they are converted."""


def prepare_array(
    values: ArrayLike,
    ids: Sequence[object] | None,
    labels: Sequence[object] | None,
    groups: Sequence[object] | None = None,
) -> Prepared:
    """An array as a data set whose values are scored as they are.

    Args:
        values: (n, *shape). Integers or booleans that are all 0 or 1 are binary, other integers
            from 0 to 255 are levels, and all else are real numbers in float32, also floats that
            are all 0 or 1.
        ids: Name of each observation; its position when None.
        labels: Label of each observation.
        groups: Group of each observation, whose members are held out together.

    Raises:
        DataError: The values are not an array of numbers, are masked, missing or not finite, or
            lose their digits in float32; or are fewer than two observations or all the same; or
            there are more or fewer names, labels or groups, or groups as `check_prepared` refuses.
    """
    numbers = _numbers(values)
    scored = _typed(numbers)
    observations = observation_table(len(scored), ids, labels, groups)
    white = int(scored.max(initial=1)) if scored.dtype == np.uint8 else 1
    prepared = Prepared(scored, observations, white=white, facts={"source": "an array"})
    return with_copies(check_prepared(prepared, "values"))


def observation_table(
    count: int,
    ids: Sequence[object] | None,
    labels: Sequence[object] | None,
    groups: Sequence[object] | None = None,
) -> pl.DataFrame:
    """Table of `index`, `id`, `label` and `group` of observations.

    Args:
        count: Number of observations.
        ids: Name of each observation; its position when None.
        labels: Label of each observation.
        groups: Group of each observation.

    Raises:
        DataError: There are more or fewer names, labels or groups, two names are the same, or a
            name or a group is missing.
    """
    named = _texts("ids", range(count) if ids is None else ids, count)
    table = named_observations(
        named, _texts("labels", labels, count), _texts("groups", groups, count)
    )
    for what, column in (("ids", "id"), ("groups", "group")):
        missing = table[column].is_null().arg_true()
        if len(missing) and (column == "id" or groups is not None):
            raise DataError(f"{what}: observation {missing[0]} has none")
    if table["id"].n_unique() < count:
        raise DataError("ids: two observations have the same")
    return table


def support_of(prepared: Prepared) -> Support:
    """Values that a density of the observations must be defined on."""
    if prepared.columns is not None:
        return "columns"
    if prepared.scored.dtype != np.uint8:
        return "continuous"
    return "binary" if prepared.white == 1 else "levels"


CURES = {
    "O": "of Python objects; where all are numbers, give values.astype(float)",
    "U": "of text; of a table with text, write a data set of kind 'table'",
    "S": "of text; of a table with text, write a data set of kind 'table'",
    "M": "of dates; give numbers, as (values - values.min()) / numpy.timedelta64(1, 'D')",
    "m": "of times; give numbers, as values / numpy.timedelta64(1, 'D')",
    "c": "complex; give real and imaginary parts, as numpy.stack([values.real, values.imag], 1)",
    "V": "structured, or of a type that numpy does not have; give numbers, as "
    "values.astype(numpy.float32)",
}
"""Cures for types of arrays whose values are no numbers, by numpy's letter for their kind."""


def _numbers(values: ArrayLike) -> NDArray[Any]:
    """Values as an array of numbers, (n, *shape); nothing in it is hidden or missing.

    Raises:
        DataError: They are no such array; the message says how to make one of them.
    """
    if _has_masked(values):
        raise DataError("values: some are masked; leave those observations out, or fill them in")
    if hasattr(values, "toarray"):
        raise DataError("values: are a sparse matrix; give values.toarray()")
    try:
        numbers = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, tensors
        raise DataError(f"values: are not an array: {_cure_of_tensor(values) or error}") from None
    if numbers.dtype.kind == "O" and any(map(is_missing, numbers.flat)):
        missing = sum(map(is_missing, numbers.flat))
        raise DataError(
            f"values: {missing:,} are missing (None, NA or NaN); leave those observations out, or "
            "fill them in"
        )
    if numbers.dtype.kind not in "biuf":
        raise DataError(
            f"values: are of type {numbers.dtype}, not numbers: {CURES[numbers.dtype.kind]}"
        )
    if numbers.ndim < 2:
        raise DataError(
            f"values: have shape {numbers.shape}, not (observations, ...); "
            "a single column is values[:, None]"
        )
    if 0 in numbers.shape[1:]:
        raise DataError(f"values: have shape {numbers.shape}; an observation has no numbers")
    return numbers


def _has_masked(values: Any) -> bool:
    """True for a masked array that hides something, also inside of lists."""
    if isinstance(values, list | tuple):
        return any(map(_has_masked, values))
    return values is np.ma.masked or bool(np.ma.is_masked(values))


def _cure_of_tensor(values: Any) -> str | None:
    """Advise how to make an array of a tensor of torch; None of anything else."""
    if not hasattr(values, "requires_grad"):
        return None
    what = f"a tensor of {values.dtype} on {values.device}"
    what += ", which requires grad" * bool(values.requires_grad)
    dense = ".to_dense()" if getattr(values, "is_sparse", False) else ""
    wide = ".float()" if "bfloat16" in str(values.dtype) else ""
    return f"{what}; give values.detach(){dense}.cpu(){wide}.numpy()"


def is_missing(one: object) -> bool:
    """True for None, NaN, pandas' NA and NaT, and what a mask hides."""
    if one is None or one is np.ma.masked:
        return True
    if type(one).__name__ in ("NAType", "NaTType"):  # pandas is not among memo's own needs
        return True
    return isinstance(one, float | np.floating) and bool(np.isnan(one))


def _typed(numbers: NDArray[Any]) -> NDArray[Any]:
    """Values in the type in which they are scored, none of whose digits is missed."""
    if numbers.dtype.kind != "f" and ((numbers >= 0) & (numbers < LEVELS)).all():
        return numbers.astype(np.uint8)
    with np.errstate(over="ignore", under="ignore"):
        scored: NDArray[np.float32] = numbers.astype(np.float32)
    wrong = ~np.isfinite(scored).all(axis=tuple(range(1, scored.ndim)))
    if wrong.any():
        raise DataError(
            f"values: {int(wrong.sum()):,} observations have values that are not finite in "
            f"float32; the first is observation {int(wrong.argmax())}"
        )
    some = slice(None, None, -(-len(numbers) // COMPARED) or None)
    lost = first_merged(numbers[some], scored[some]) if len(numbers) else None
    if lost is not None:
        place, counts = lost
        raise DataError(
            f"values: {counts} in float32, at {list(place)} of an observation; subtract what they "
            "have in common, or give them in another unit"
        )
    return scored


def _texts(what: str, given: Sequence[object] | None, count: int) -> list[str | None]:
    if given is None:
        return [None] * count
    if isinstance(given, Set | Mapping | str | bytes) or not hasattr(given, "__len__"):
        raise DataError(
            f"{what}: are of type {type(given).__name__}; give a list, in the order of the "
            "observations"
        )
    if len(given) != count:
        raise DataError(f"{what}: are {len(given):,}, of {count:,} observations")
    shape = next((np.asarray(one).shape for one in given if getattr(one, "ndim", 0)), None)
    if shape is not None:
        raise DataError(f"{what}: one is an array of shape {shape}; give one for each")
    return [None if is_missing(one) else _text(one) for one in given]


def _text(one: Any) -> str:
    """A name as text; of numpy's and torch's numbers the number alone."""
    if getattr(one, "ndim", None) == 0 and hasattr(one, "item"):
        one = one.item()
    return one.decode(errors="backslashreplace") if isinstance(one, bytes) else str(one)
