"""Sets of observations that are held out together: groups of a data set, and near-duplicates."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import scipy

from memo.datasets.copies import near_radius
from memo.datasets.prepared import Prepared, has_groups
from memo.design.duplicates import Duplicates
from memo.design.k_fold import IndexArray
from memo.errors import InputError
from memo.spec.scoring_specs import DesignSpec, KFoldSpec, LeaveOneOutSpec, SubsetsSpec

GROUPS = "groups"

MANY = 0.1
"""Share of the observations from which on one set of them deserves a word."""


@dataclass(frozen=True)
class Sets:
    """Sets of observations that are held out together."""

    of: IndexArray
    """Number of the set that each observation belongs to, 0 ... s-1, (n,)."""
    names: list[str]
    """Name of the set of each observation."""
    determinants: dict[str, Any]
    """Settings that determine the sets, given the data."""
    what: str
    """Kind of the sets, in the plural."""

    @property
    def kind(self) -> str:
        """`groups` or `near-duplicates`."""
        return str(self.determinants["together"])

    @property
    def words(self) -> str:
        """Description for people."""
        sizes = np.bincount(self.of)
        count = len(sizes) if self.what == GROUPS else int((sizes > 1).sum())
        words = f"{count:,} {self.what} are held out whole"
        words += f", the largest of {sizes.max():,} observations"
        share = sizes.max() / len(self.of)
        return words + (f" ({share:.0%} of all)" if share > MANY else "")


def sets_of(design: DesignSpec, data: Prepared) -> Sets | None:
    """The sets that a design holds out together; None where it holds out each observation alone.

    Args:
        design: The design; its `together` says which sets.
        data: The observations.

    Raises:
        InputError: There are no groups though the design names them; the design is of single
            observations though there are groups; or all observations are in one set.
    """
    groups = data.observations["group"]
    declared = has_groups(data.observations)
    if isinstance(design, LeaveOneOutSpec):
        if declared and groups.n_unique() < len(groups):
            raise InputError(
                "leave-one-out leaves out single observations, but a group must be held out whole: "
                "take k-fold or subsets, or a data set without groups"
            )
        return None
    together = design.together or ("groups" if declared else "nothing")
    if together == "nothing":
        return None
    if together == "groups":
        if not declared:
            raise InputError(
                "`together: groups` needs groups: name the column of groups under the `group` of a "
                "table, or a file of them under the `groups` of an image folder; there are none"
            )
        return _sets(numbered(groups), groups.to_list(), {"together": GROUPS}, GROUPS)
    return _near_duplicates(design, data, groups if declared else None)


def _near_duplicates(
    design: KFoldSpec | SubsetsSpec, data: Prepared, groups: pl.Series | None
) -> Sets | None:
    """Sets of near-duplicates, and of groups that near-duplicates join; None where none are."""
    radius = near_radius(data)[1] if design.distance is None else design.distance
    sets = Duplicates(data.given_values, radius).sets()
    what = f"sets of near-duplicates (within {radius:.4g}"
    if groups is not None:
        sets = _joined(sets, numbered(groups))
        what += ", and of groups that these join"
    if len(np.unique(sets)) == len(sets):
        return None
    first = np.unique(sets, return_index=True)[1]
    ids = data.observations["id"].to_list() if groups is None else groups.to_list()
    names = [ids[place] for place in first[sets].tolist()]
    determinants = {"together": "near-duplicates", "distance": design.distance}
    return _sets(sets, names, determinants, what + ")")


def numbered(groups: pl.Series) -> IndexArray:
    """Number of each observation's group, 0 ... g-1 in the order of first appearance, (n,).

    Example:
        >>> numbered(pl.Series(["b", "a", "b"])).tolist()
        [0, 1, 0]
    """
    _, first, own = np.unique(groups.to_numpy(), return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[own]


def _joined(one: IndexArray, other: IndexArray) -> IndexArray:
    """Number of the set of each observation, where sets of two kinds that meet are one, (n,)."""
    n = len(one)
    own = np.arange(n)
    rows, columns = np.concatenate([own, own]), np.concatenate([n + one, 2 * n + other])
    pairs = scipy.sparse.coo_array((np.ones(2 * n), (rows, columns)), (3 * n, 3 * n))
    labels = scipy.sparse.csgraph.connected_components(pairs, directed=False)[1][:n]
    return np.unique(labels, return_inverse=True)[1]


def _sets(of: IndexArray, names: list[str], determinants: dict[str, Any], what: str) -> Sets:
    if of.max() == 0:
        raise InputError(
            f"all {len(of):,} observations are in one set ({what}): nothing is left to train on "
            "without it"
        )
    return Sets(of, names, determinants, what)
