"""Prepared data sets: the observations that are trained on and scored."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.datasets.rows import Index, Logits, Rows, Shares, chunks
from memo.datasets.tabular.columns import Column, columns_as_json, columns_of_json
from memo.errors import InputError


class DataError(InputError):
    """A data set cannot be used; the message names it and says why."""


@dataclass(frozen=True)
class Prepared:
    """Observations, the same for every model that is trained or scored on them.

    Models see `scored`. Everybody else speaks of log p in the space of the original values: of
    pixels in units of levels (so that bits per dimension are -log p / (pixels log 2)), or of a
    table's columns in their own units. `to_original` and `to_model` convert between the two.
    """

    scored: Rows
    """(n, *shape): the values whose density is measured, drawn once for each observation. A numpy
    array, or one that computes rows when it is asked for them; `scored[:]` has them in memory."""

    observations: pl.DataFrame
    """`index`, `id`, `label`, `group` of each observation, in order. Those of one group are held
    out together; all groups are null where there are none."""

    drawn_anew: bool = False
    """True where each training step draws values anew from `before_noise`."""

    given: Rows | None = None
    """(n, *shape): values before noise was drawn for each observation, by which copies are found;
    None where other rows have them."""

    log_jacobian: NDArray[np.float64] | None = None
    """(n,) nats: log |det d scored / d original values|; None where both are the same."""

    white: int = 1
    """Level of a white pixel, where `scored` has levels; 1 for binary pixels."""

    flips: bool = False
    """True where training mirrors images left to right at random."""

    columns: list[Column] | None = None
    """Columns that each record's vector is made of; None where observations are no records."""

    facts: dict[str, Any] = field(default_factory=dict)
    """Facts for readers: source, licence, files that were left out."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one observation."""
        return tuple(self.scored.shape[1:])

    @property
    def given_values(self) -> Rows:
        """(n, *shape): the values as they were given, before noise: two copies have the same.

        Pixels are from 0 (black) to 1 (white); of `levels`, integers as they are scored.
        """
        if self.given is not None:
            return self.given
        if isinstance(self.scored, Logits):
            return Shares(self.scored.levels, self.scored.depth)
        return self.scored

    @property
    def before_noise(self) -> Rows:
        """(n, *shape): what `scored` and training draw from, probabilities or integer levels."""
        return self.scored.levels if isinstance(self.scored, Logits) else self.given_values

    def to_original(
        self, log_p: NDArray[np.float64], rows: Index = slice(None)
    ) -> NDArray[np.float64]:
        """Convert log p of `scored` to log p of the original values.

        Args:
            log_p: (n,) or (models, n) nats, of the observations at `rows`.
            rows: Which observations; all by default.
        """
        return log_p if self.log_jacobian is None else log_p + self.log_jacobian[rows]

    def to_model(
        self, log_p: NDArray[np.float64], rows: Index = slice(None)
    ) -> NDArray[np.float64]:
        """Convert log p of the original values to log p of `scored`; undoes `to_original`."""
        return log_p if self.log_jacobian is None else log_p - self.log_jacobian[rows]

    def __len__(self) -> int:
        return len(self.scored)


def named_observations(
    ids: Sequence[str | None],
    labels: Sequence[str | None],
    groups: Sequence[str | None] | None = None,
) -> pl.DataFrame:
    """The table `Prepared.observations`, of ids, labels and groups in order.

    Example:
        >>> named_observations(["a", "b"], ["x", None], ["p", "p"]).row(1)
        (1, 'b', None, 'p')
    """
    none = [None] * len(ids)
    return pl.DataFrame(
        {
            "index": range(len(ids)),
            "id": ids,
            "label": labels,
            "group": none if groups is None else groups,
        },
        schema={"index": pl.Int64, "id": pl.String, "label": pl.String, "group": pl.String},
    )


ROWS = ("scored", "given")
"""Fields of `Prepared` with one row for each observation."""


def stored(prepared: Prepared) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays to write for a data set, and JSON facts with which `restored` reads them."""
    arrays: dict[str, NDArray[Any]] = {}
    conversions: dict[str, Any] = {}
    for name in ROWS:
        rows: Rows | None = getattr(prepared, name)
        if isinstance(rows, Logits | Shares):
            arrays[name] = rows.levels
            conversions[name] = _conversion(rows)
        elif rows is not None:
            arrays[name] = rows[:]
    if prepared.log_jacobian is not None:
        arrays["log_jacobian"] = prepared.log_jacobian
    form = {"conversions": conversions, "white": prepared.white, "flips": prepared.flips}
    if prepared.drawn_anew:
        form["drawn_anew"] = True
    if prepared.columns is not None:
        form["columns"] = columns_as_json(prepared.columns)
    return arrays, form


def restored(
    arrays: Mapping[str, NDArray[Any]],
    form: Mapping[str, Any],
    observations: pl.DataFrame,
    facts: dict[str, Any],
) -> Prepared:
    """The data set that `stored` returned these arrays and facts of.

    Args:
        arrays: Arrays by name; they may be memory-mapped.
        form: JSON facts that say how to read the arrays.
        observations: `index`, `id`, `label`, `group` of each observation.
        facts: Facts for readers.

    Raises:
        DataError: `stored` never returns such arrays and facts.
    """
    try:
        rows = {
            name: _converted(arrays[name], form["conversions"].get(name))
            for name in ROWS
            if name in arrays
        }
        columns = form.get("columns")
        prepared = Prepared(
            scored=rows["scored"],
            observations=observations,
            drawn_anew=bool(form.get("drawn_anew", False)),
            given=rows.get("given"),
            log_jacobian=arrays.get("log_jacobian"),
            white=int(form["white"]),
            flips=bool(form["flips"]),
            columns=None
            if columns is None
            else columns_of_json(columns, int(np.prod(rows["scored"].shape[1:]))),
            facts=facts,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(repr(error).split())
        raise DataError(f"not the arrays of a prepared data set: {reason:.200}") from error
    _require_sound(prepared)
    return prepared


def content_hash(prepared: Prepared) -> str:
    """SHA-256 over values, as given and as scored, ids, labels, groups: all that models are of."""
    arrays, form = stored(prepared)
    digest = hashlib.sha256(json.dumps(form, sort_keys=True).encode())
    for name in ROWS:
        if name in arrays:
            digest.update(f"{arrays[name].dtype.str}{arrays[name].shape}".encode())
            digest.update(np.ascontiguousarray(arrays[name]).data)
    observations = prepared.observations
    named = ["id", "label", *(["group"] if has_groups(observations) else [])]
    records = observations.select(named).to_dict(as_series=False)
    digest.update(json.dumps(records).encode())
    return digest.hexdigest()


def has_groups(observations: pl.DataFrame) -> bool:
    """Tell whether observations belong to groups."""
    return observations["group"].null_count() < len(observations)


def check_prepared(prepared: Prepared, name: str) -> Prepared:
    """Return the data set if memorization can be measured on it.

    Raises:
        DataError: There are fewer than two observations, values that are not finite, or all
            observations are the same; or some have no group, or all the same one.
    """
    values = stored(prepared)[0]["scored"]
    if len(values) < 2:
        raise DataError(
            f"{name}: has {len(values) or 'no'} observation{'s' * (not len(values))}; "
            "memorization is measured on two or more"
        )
    if values.dtype.kind == "f":
        for rows in chunks(len(values)):
            if not np.isfinite(values[rows]).all():
                raise DataError(f"{name}: has values that are not finite")
    if all((values[rows] == values[0]).all() for rows in chunks(len(values))):
        raise DataError(f"{name}: all {len(values):,} observations are the same")
    _check_groups(prepared.observations, name)
    return prepared


def _check_groups(observations: pl.DataFrame, name: str) -> None:
    if not has_groups(observations):
        return
    groups = observations["group"]
    if groups.null_count():
        raise DataError(f"{name}: {groups.null_count():,} observations have no group; others have")
    if groups.n_unique() == 1:
        raise DataError(
            f"{name}: all {len(groups):,} observations are of one group, {groups[0]!r:.60}: "
            "nothing is left to train on without it"
        )


def _require_sound(prepared: Prepared) -> None:
    """See that arrays from a file fit each other and have values that data sets have.

    Raises:
        DataError: An array has another shape, type or range than those of data sets.
    """
    n, shape = len(prepared), prepared.scored.shape
    jacobian = prepared.log_jacobian
    _check_groups(prepared.observations, "observations")
    if len(shape) < 2 or 0 in shape or not 1 <= prepared.white <= 255:
        raise DataError(f"no observations have the shape {shape[1:]} and white {prepared.white}")
    if prepared.given is not None and prepared.given.shape != shape:
        raise DataError("values as given do not fit those that are scored")
    if prepared.drawn_anew and not isinstance(prepared.scored, Logits) and prepared.given is None:
        raise DataError("values cannot be drawn anew: those before noise are not there")
    if jacobian is not None and not (
        jacobian.shape == (n,) and jacobian.dtype == np.float64 and np.isfinite(jacobian).all()
    ):
        raise DataError("the Jacobian is not one finite number for each observation")
    for rows in (prepared.scored, prepared.given):
        match rows:
            case Logits() | Shares():
                _require_conversion(rows)
                _require_values(rows.levels, rows.depth - 1)
            case np.ndarray():
                _require_values(rows, prepared.white)


def _require_conversion(rows: Logits | Shares) -> None:
    sound = rows.levels.dtype == np.uint8 and type(rows.depth) is int and 2 <= rows.depth <= 256
    if isinstance(rows, Logits):
        share, seed = rows.logit_lambda, rows.seed
        sound = sound and type(share) is float and 0 <= share < 0.5
        sound = sound and type(seed) is int and 0 <= seed < 2**128
    if not sound:
        raise DataError("pixels are not stored as levels")


def _require_values(values: NDArray[Any], largest_level: int) -> None:
    for rows in chunks(len(values)):
        part = values[rows]
        if values.dtype == np.uint8 and part.max() > largest_level:
            raise DataError(f"has levels above {largest_level}")
        if not np.isfinite(part).all():
            raise DataError("has values that are not finite")


def _conversion(rows: Logits | Shares) -> dict[str, Any]:
    options = {name: value for name, value in vars(rows).items() if name != "levels"}
    return {"kind": "shares" if isinstance(rows, Shares) else "logits", **options}


def _converted(array: NDArray[Any], conversion: Mapping[str, Any] | None) -> Rows:
    if conversion is None:
        return array
    options = dict(conversion)
    kinds: dict[str, type[Shares | Logits]] = {"shares": Shares, "logits": Logits}
    return kinds[options.pop("kind")](array, **options)
