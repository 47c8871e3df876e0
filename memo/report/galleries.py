"""Observations side by side, as pictures."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from memo.datasets.pictures import Pictures
from memo.report.numbers import number
from memo.report.page_data import Movers, NeighborData
from memo.report.ranked_scores import RankedScores, described
from memo.report.thumbnails import data_uri, thumbnail

Galleries: TypeAlias = dict[str, list[dict[str, Any]]]
"""By title: pictures with `image` (a `Thumbnail` or None), `score` (in words), `id`, `label`."""

PICTURED = 24
"""Observations in each gallery."""
EXAMPLES = 16
"""Observations of either kind as examples on the density."""
BESIDE = 12
"""Observations that are shown beside their nearest sample."""


def galleries(ranked: RankedScores, images: Pictures) -> Galleries:
    """Show the most, the median and the least memorized, or all where they are few."""
    table = ranked.table
    if not ranked.differ:
        return {}
    if len(table) < 3 * PICTURED // 4:
        return {"All observations, the most memorized first": _pictures(table, images)}
    size = min(PICTURED, len(table) // 3)
    return {
        "Most memorized": _pictures(table.head(size), images),
        "Around the median": _pictures(table.slice((len(table) - size) // 2, size), images),
        "Least memorized": _pictures(table.tail(size).reverse(), images),
    }


def examples(ranked: RankedScores, images: Pictures) -> Galleries:
    """Show some highly memorized and some regular ones, evenly spread over ranks of log p in."""
    if not ranked.split:
        return {}
    found = {}
    for kind, members in (("Highly memorized", ranked.highly), ("Regular", ~ranked.highly)):
        by_log_p = ranked.table.filter(members).sort("log_p_in", "index")
        places = np.linspace(0, len(by_log_p) - 1, min(EXAMPLES, len(by_log_p))).round()
        title = f"{kind}, from the least likely of them to the most"
        found[title] = _pictures(by_log_p[places.astype(np.int64)], images)
    return found


def moved(movers: Movers, images: Pictures | None) -> Galleries:
    """Show the observations whose scores fell most, and those whose scores rose most."""
    of_what = " of shrunk scores" if movers.shrunk else ""
    sides = {
        f"Memorized less: the largest falls{of_what}": movers.lost,
        f"Memorized more: the largest rises{of_what}": movers.gained,
    }
    return {
        title: [
            asdict(mover)
            | {
                "image": None if images is None else thumbnail(images, mover.index),
                "score": f"{number(mover.before)} → {number(mover.after)}",
                "shrunk": None,
            }
            for mover in side
        ]
        for title, side in sides.items()
        if side
    }


def nearest(
    data: NeighborData, rows: Sequence[dict[str, Any]], images: Pictures
) -> list[dict[str, Any]]:
    """Show the most memorized observations beside their nearest sample and held-out observation.

    Args:
        data: Of all observations.
        rows: `index`, `id` and `score` (in words) of each; the most memorized first.
        images: For display, row `index`.

    Returns:
        Each row with its neighbours, as in `NeighborData.table`, and pictures: two `Thumbnail`
        and the sample's data URI.
    """
    if data.samples is None:
        return []
    table = data.table.sort("index")
    return [
        row
        | found
        | {
            "image": thumbnail(images, row["index"]),
            "sample": data_uri(data.samples[found["nearest_sample"]]),
            "held_out": thumbnail(images, found["nearest_held_out"]),
        }
        for row in rows[:BESIDE]
        for found in [table.row(row["index"], named=True)]
    ]


def _pictures(table: pl.DataFrame, images: Pictures) -> list[dict[str, Any]]:
    return [row | {"image": thumbnail(images, row["index"])} for row in described(table)]
