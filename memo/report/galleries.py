"""Observations side by side, as pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.report.numbers import number
from memo.report.page_data import Movers, NeighborData
from memo.report.ranked_scores import RankedScores, described
from memo.report.thumbnails import data_uri

__all__ = ["BESIDE", "EXAMPLES", "Gallery", "Picture", "examples", "galleries", "moved", "nearest"]

Images = NDArray[np.uint8]

PICTURED = 24
"""Observations in each gallery."""
EXAMPLES = 16
"""Observations of either kind as examples on the density."""
BESIDE = 12
"""Observations that are shown beside their nearest sample."""


@dataclass(frozen=True)
class Picture:
    """An observation in a gallery."""

    image: str
    """A data URI; empty where observations are not images."""
    caption: str
    id: str
    label: str | None


@dataclass(frozen=True)
class Gallery:
    """Some observations, side by side."""

    title: str
    pictures: list[Picture]


def galleries(ranked: RankedScores, images: Images) -> list[Gallery]:
    """Show the most, the median and the least memorized, or all where they are few."""
    if not ranked.differ:
        return []
    table = ranked.table
    if len(table) < 3 * PICTURED // 4:
        return [_gallery("All observations, the most memorized first", table, images)]
    size = min(PICTURED, len(table) // 3)
    parts = {
        "Most memorized": table.head(size),
        "Around the median": table.slice((len(table) - size) // 2, size),
        "Least memorized": table.tail(size).reverse(),
    }
    return [_gallery(title, part, images) for title, part in parts.items()]


def examples(ranked: RankedScores, images: Images) -> list[Gallery]:
    """Show some highly memorized and some regular ones, evenly spread over ranks of log p in."""
    if not ranked.split:
        return []
    found = []
    for kind, members in (("Highly memorized", ranked.highly), ("Regular", ~ranked.highly)):
        by_log_p = ranked.table.filter(members).sort("log_p_in", "index")
        places = np.linspace(0, len(by_log_p) - 1, min(EXAMPLES, len(by_log_p))).round()
        title = f"{kind}, from the least likely of them to the most"
        found.append(_gallery(title, by_log_p[places.astype(np.int64)], images))
    return found


def moved(movers: Movers, images: Images | None) -> list[Gallery]:
    """Show the observations whose scores fell most, and those whose scores rose most."""
    sides = {
        "Memorized less: the largest falls": movers.lost,
        "Memorized more: the largest rises": movers.gained,
    }
    return [
        Gallery(
            title,
            [
                Picture(
                    "" if images is None else data_uri(images[mover.index]),
                    f"{number(mover.before)} → {number(mover.after)}",
                    mover.id,
                    mover.label,
                )
                for mover in side
            ],
        )
        for title, side in sides.items()
        if side
    ]


def nearest(
    data: NeighborData, rows: Sequence[dict[str, Any]], images: Images
) -> list[dict[str, Any]]:
    """Show the most memorized observations beside their nearest sample and held-out observation.

    Args:
        data: Of all observations.
        rows: `index`, `id` and `score` (in words) of each; the most memorized first.
        images: For display, row `index`.

    Returns:
        Of each: `row`, its neighbours `found`, and three data URIs.
    """
    if data.samples is None:
        return []
    table = data.table.sort("index")
    return [
        {
            "row": row,
            "found": found,
            "observation": data_uri(images[row["index"]]),
            "sample": data_uri(data.samples[found["nearest_sample"]]),
            "held_out": data_uri(images[found["nearest_held_out"]]),
        }
        for row in rows[:BESIDE]
        for found in [table.row(row["index"], named=True)]
    ]


def _gallery(title: str, table: pl.DataFrame, images: Images) -> Gallery:
    rows = described(table)
    return Gallery(
        title,
        [Picture(data_uri(images[r["index"]]), r["score"], r["id"], r["label"]) for r in rows],
    )
