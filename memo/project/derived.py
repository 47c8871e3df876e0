"""Experiments made from another one: changed, or swept over a grid of values."""

import copy
import math
import re
from collections.abc import Iterator
from itertools import product
from typing import Annotated, Any

from pydantic import Field, JsonValue

from memo.spec.base import Name, Spec

__all__ = ["LARGEST_GRID", "DerivedSpec", "ExpansionError", "expand"]

LARGEST_GRID = 500
"""Experiments that one entry may expand to."""

Path = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$", max_length=200)]
"""Keys and list positions below an experiment: `training.learning_rate`, `mitigations.0.scale`."""


class DerivedSpec(Spec):
    """Another experiment with changes; with a grid, one experiment for each point of it.

    The names of a grid's experiments are the entry's and the values of the point.
    """

    base: Name = Field(description="The experiment of `experiments` that is changed.")
    title: str | None = Field(default=None, max_length=200, description="A name for people.")
    change: dict[Path, JsonValue] = Field(
        default={}, description="Values by path: `{training.epochs: 50}`; they replace what stands."
    )
    grid: dict[Path, Annotated[list[JsonValue], Field(min_length=1)]] = Field(
        default={}, description="Lists of values by path; every combination is an experiment."
    )


class ExpansionError(ValueError):
    """An entry cannot be expanded."""

    def __init__(self, entry: str, keys: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.path = ("derived", entry, *keys)
        """Where in params.yaml."""


def expand(
    entry: str, derived: DerivedSpec, experiments: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """The experiments of an entry by name, as they would stand in params.yaml.

    Args:
        entry: Its key under `derived`.
        derived: The entry.
        experiments: What stands under `experiments`.

    Raises:
        ExpansionError: The base is unknown, a path leads nowhere, the grid is too large, or two of
            its points have the same name.
    """
    if derived.base not in experiments:
        raise ExpansionError(entry, ("base",), f"no experiment is named {derived.base!r}")
    size = math.prod(len(values) for values in derived.grid.values())
    if size > LARGEST_GRID:
        raise ExpansionError(
            entry, ("grid",), f"has {size:,} points; at most {LARGEST_GRID} are trained"
        )
    base = copy.deepcopy(experiments[derived.base])
    base.pop("title", None)
    for path, value in derived.change.items():
        _put(base, path, value, (entry, ("change", path)))
    points = {}
    for name, values in _points(entry, derived):
        experiment = copy.deepcopy(base)
        for path, value in values.items():
            _put(experiment, path, value, (entry, ("grid", path)))
        if derived.title is not None:
            experiment["title"] = _title(derived.title, values)
        if name in points:
            raise ExpansionError(entry, ("grid",), f"has two points that are named {name!r}")
        points[name] = experiment
    return points


def _points(entry: str, derived: DerivedSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    labels = [
        [_label(value, place) for place, value in enumerate(values)]
        for values in derived.grid.values()
    ]
    for names, values in zip(product(*labels), product(*derived.grid.values()), strict=True):
        yield "-".join([entry, *names]), dict(zip(derived.grid, values, strict=True))


def _label(value: Any, place: int) -> str:
    """A value as a part of a name; a list or mapping by its position in the grid."""
    if isinstance(value, dict | list) or value is None:
        return str(place)
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^a-z0-9_-]+", "_", text.lower())


def _title(title: str, values: dict[str, Any]) -> str:
    plain = [f"{path.rpartition('.')[2]} {value}" for path, value in values.items()]
    return ", ".join([title, *plain])[:200]


def _put(experiment: Any, path: str, value: Any, at: tuple[str, tuple[str, ...]]) -> None:
    """Set a value; its parent must be there. A list position one past the end appends."""
    *parents, last = path.split(".")
    node = experiment
    try:
        for part in parents:
            node = node[int(part) if isinstance(node, list) else part]
        if isinstance(node, list):
            node[int(last) : int(last) + 1] = [copy.deepcopy(value)]
        else:
            node[last] = copy.deepcopy(value)
    except (KeyError, IndexError, TypeError, ValueError):
        raise ExpansionError(
            at[0], at[1], f"{path!r} leads nowhere in the experiment that it changes"
        ) from None
