"""The list of the most memorized groups."""

from dataclasses import dataclass
from typing import Any

from memo.report.page_data import GroupData

LISTED = 50
"""Groups that are listed."""


@dataclass(frozen=True)
class GroupList:
    """The most memorized groups, in words."""

    rows: list[dict[str, Any]]
    """Rows of `memo.scores.groups.GROUP_SCORES`."""
    words: str
    """A sentence about all of them."""
    with_intervals: bool


def group_list(groups: GroupData) -> GroupList:
    """Return the first of the groups."""
    table = groups.table
    which = f"The {LISTED} most memorized of " if len(table) > LISTED else ""
    return GroupList(
        table.head(LISTED).to_dicts(),
        f"{which}{len(table):,} {groups.what}.",
        with_intervals=bool((table["low"] < table["high"]).any()),
    )
