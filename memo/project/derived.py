"""Experiments made from another one: changed, or swept over a grid of values."""

import copy
import math
import re
from collections.abc import Iterator
from itertools import product
from typing import Annotated, Any

from pydantic import Field, JsonValue

from memo.spec.base import Name, Spec

LARGEST_GRID = 500
"""Most experiments that one entry may expand to."""

DottedPath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$", max_length=200)]
"""Keys and list positions below an experiment: `training.learning_rate`, `mitigations.0.scale`."""


class DerivedSpec(Spec):
    """Another experiment with changes; with a grid, one experiment for each of its points.

    The experiments of a grid are named by the entry's key and the values of the point.
    """

    base: Name = Field(
        description="The experiment, under `experiments` or `custom`, that is changed."
    )
    title: str | None = Field(default=None, max_length=200, description="Name shown to people.")
    change: dict[DottedPath, JsonValue] = Field(
        default={},
        description="New values by path, as in `{training.epochs: 50}`; they replace the old ones. "
        "A mapping that is replaced is given whole.",
    )
    grid: dict[DottedPath, Annotated[list[JsonValue], Field(min_length=1)]] = Field(
        default={}, description="Lists of values by path; each combination is an experiment."
    )


class ExpansionError(ValueError):
    """An entry of `derived` cannot be expanded."""

    def __init__(self, entry: str, keys: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.path = ("derived", entry, *keys)
        """Keys from the top of params.yaml to what is wrong."""


def expand(
    entry: str, derived: DerivedSpec, experiments: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """The experiments of an entry by name, as they would be written in params.yaml.

    Args:
        entry: Key of the entry under `derived`.
        derived: The entry.
        experiments: The experiments that it may change, as they are written in params.yaml.

    Raises:
        ExpansionError: The base is unknown, a path leads nowhere, the grid is too large, or two of
            its points have the same name; or a path replaces what stands before it, or
            a mapping only a part of which is given.
    """
    if derived.base not in experiments:
        raise ExpansionError(entry, ("base",), f"no experiment is named {derived.base!r}")
    size = math.prod(map(len, derived.grid.values()))
    if size > LARGEST_GRID:
        raise ExpansionError(
            entry, ("grid",), f"has {size:,} points; at most {LARGEST_GRID} are trained"
        )
    base = copy.deepcopy(experiments[derived.base])
    base.pop("title", None)
    _put_all(base, derived.change, (entry, "change"))
    points: dict[str, dict[str, Any]] = {}
    for name, values in _points(entry, derived):
        if name in points:
            raise ExpansionError(entry, ("grid",), f"has two points that are named {name!r}")
        points[name] = experiment = copy.deepcopy(base)
        _put_all(experiment, values, (entry, "grid"))
        if derived.title is not None:
            experiment["title"] = _title(derived.title, values)
    return points


def _points(entry: str, derived: DerivedSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name of each point, and its values by path."""
    axes = [
        [(_label(value, place), value) for place, value in enumerate(values)]
        for values in derived.grid.values()
    ]
    for point in product(*axes):
        name = "-".join([entry, *(label for label, _ in point)])
        yield name, dict(zip(derived.grid, (value for _, value in point), strict=True))


def _label(value: Any, place: int) -> str:
    """A value as a part of a name; a list, a mapping or null by its position in the grid."""
    if isinstance(value, dict | list) or value is None:
        return str(place)
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^a-z0-9_-]+", "_", text.lower())


def _title(title: str, values: dict[str, Any]) -> str:
    plain = [f"{path.rpartition('.')[2]} {value}" for path, value in values.items()]
    return ", ".join([title, *plain])[:200]


def _put_all(experiment: Any, values: dict[str, Any], at: tuple[str, str]) -> None:
    entry, section = at
    for place, (path, value) in enumerate(values.items()):
        for earlier in list(values)[:place]:
            if earlier.startswith(f"{path}."):
                raise ExpansionError(
                    entry,
                    (section, path),
                    f"replaces all of {path!r}, and with it {earlier!r}, which stands before it; "
                    "write one of them",
                )
        try:
            dropped = _put(experiment, path.split("."), copy.deepcopy(value))
        except (KeyError, IndexError, TypeError, ValueError):
            raise ExpansionError(
                entry,
                (section, path),
                f"{path!r} leads nowhere in the experiment that it changes",
            ) from None
        if dropped:
            raise ExpansionError(
                entry,
                (section, path),
                f"replaces all of {path!r}, and drops {', '.join(dropped)}; to change a part, "
                f"write it as a path: {path}.{next(iter(value))}, for example",
            )


def _put(node: Any, path: list[str], value: Any) -> list[str]:
    """Set a value whose parent is there; one past the end of a list, append it.

    Returns:
        Keys that a mapping has lost by it, unless the new one is of a kind, and so stands for
        itself.
    """
    *parents, last = path
    for part in parents:
        node = node[int(part) if isinstance(node, list) else part]
    if isinstance(node, list):
        node[int(last) : int(last) + 1] = [value]
        return []
    if not isinstance(node, dict):
        raise TypeError(path)
    before, node[last] = node.get(last), value
    if not isinstance(before, dict) or not isinstance(value, dict) or not value or "kind" in value:
        return []
    return [str(key) for key in before if key not in value]
