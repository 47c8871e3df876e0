"""Observations that a near record explains, side by side with it."""

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from memo.datasets.pictures import Pictures
from memo.report.memorized_records import in_words
from memo.report.numbers import estimate, number
from memo.report.page_data import RecordData, TwinData
from memo.report.thumbnails import Thumbnail, thumbnail

SHOWN = 12
"""Pairs that are shown."""

COLUMNS = 12
"""Columns of a table that are shown of each."""


@dataclass(frozen=True)
class Pair:
    """An observation and the neighbour that explains it, in words."""

    id: str
    neighbor_id: str
    score: str
    own: str
    """The score that is left where the neighbour is in training."""
    influence: str
    joint: str
    distance: str
    image: Thumbnail | None = None
    neighbor_image: Thumbnail | None = None
    """None where observations are no images."""
    columns: list[dict[str, str]] = field(default_factory=list)
    """`name`, `value` and `other` of columns, those that differ first; none where observations are
    no records."""


@dataclass(frozen=True)
class Twins:
    """Pairs, those of the largest influence first."""

    pairs: list[Pair]
    words: str
    """Sentences about all pairs."""
    with_intervals: bool


def twins(
    data: TwinData,
    scores: pl.DataFrame,
    images: Pictures | None,
    records: RecordData | None,
) -> Twins:
    """Return the observations that a neighbour explains, each with the neighbour that does most.

    Args:
        data: All pairs.
        scores: `index` and `id` of all observations.
        images: For display, row `index`; None where they are not images.
        records: None where observations are not a table's records.
    """
    explained = data.table.filter("explained").sort("influence", descending=True)
    explained = explained.unique("index", keep="first", maintain_order=True)
    names = dict(scores.select("index", "id").iter_rows())
    pairs = [
        Pair(
            id=names[row["index"]],
            neighbor_id=names[row["neighbor"]],
            score=number(row["memorization"]),
            own=number(row["own"]),
            influence=estimate(row["influence"], row["low"], row["high"]),
            joint=number(row["joint"]),
            distance=number(row["distance"]),
            **_pictured(row, images),
            columns=_columns(row, records),
        )
        for row in explained.head(SHOWN).iter_rows(named=True)
    ]
    return Twins(
        pairs,
        f"{data.words} {_counted(len(explained))}",
        with_intervals=bool((explained["low"] < explained["high"]).any()),
    )


def _counted(count: int) -> str:
    if not count:
        return "No observation was found to be explained by a near record."
    few = f" The {SHOWN} with the largest influence are shown." if count > SHOWN else ""
    verb = "observation is" if count == 1 else "observations are"
    return f"{count:,} {verb} explained by a near record, at a false discovery rate of 5%.{few}"


def _pictured(row: dict[str, Any], images: Pictures | None) -> dict[str, Thumbnail]:
    if images is None:
        return {}
    return {
        "image": thumbnail(images, row["index"]),
        "neighbor_image": thumbnail(images, row["neighbor"]),
    }


def _columns(row: dict[str, Any], records: RecordData | None) -> list[dict[str, str]]:
    if records is None:
        return []
    own, other = (records.values.row(row[place]) for place in ("index", "neighbor"))
    differ = sorted(range(len(own)), key=lambda column: own[column] == other[column])
    return [
        {
            "name": records.values.columns[column],
            "value": in_words(own[column]),
            "other": in_words(other[column]),
        }
        for column in differ[:COLUMNS]
    ]
