"""The section of a report on replicas: records that come out as samples."""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from memo.datasets.pictures import Pictures
from memo.report.audit.replica_data import ReplicaData
from memo.report.memorized_records import in_words
from memo.report.numbers import estimate, interval, number
from memo.report.thumbnails import data_uri, thumbnail
from memo.samples.extraction import Counted, Replication
from memo.scores.relation import Interval

MOST_COLUMNS = 8
"""Columns of a record that are shown, the first ones."""


def replica_section(
    data: ReplicaData | str | None,
    described: Callable[[int], Mapping[str, Any]],
    images: Pictures | None,
    values: pl.DataFrame | None = None,
    sampled: pl.DataFrame | None = None,
) -> dict[str, Any]:
    """Return what `replicas.html.j2` shows; empty where samples were not compared.

    Args:
        data: Of all records; or why there is none.
        described: From an index to `id` and `score` (in words).
        images: Records for display, row `index`; None where they are not images.
        values: A table's records, row `index`; None where they are none.
        sampled: Samples as such records.
    """
    if data is None:
        return {}
    if isinstance(data, str):
        return {"missing": data}
    beside: list[dict[str, Any]] = []
    for place, row in enumerate(data.nearest.iter_rows(named=True)):
        one = row | dict(described(row["index"]))
        if images is not None and data.pictures is not None:
            one |= {"image": thumbnail(images, row["index"])}
            one |= {"sample": data_uri(data.pictures[place])}
        if values is not None and sampled is not None:
            pair = values.row(row["index"]), sampled.row(row["replica_sample"])
            one |= {"columns": _columns(values.columns, *pair)}
        beside.append(one)
    return {
        "data": data,
        "words": _in_words(data),
        "beside": beside,
        "counts": [] if isinstance(data.by_folds, str) else _counts(data.by_folds),
    }


def _in_words(data: ReplicaData) -> list[str]:
    n = len(data.table)
    words = [
        f"{data.samples:,} samples of {data.source} replicate {data.found:,} of {n:,} records. "
        f"{data.rule}"
    ]
    if isinstance(data.by_folds, str):
        return [*words, data.by_folds, *_correlation(data.correlation)]
    difference = data.by_folds.difference
    ends = [None if end is None else 100 * end for end in (difference.low, difference.high)]
    shown = interval(100 * difference.value, ends[0], ends[1])
    verdict = (
        "more than chance: these records leave with the samples"
        if difference.low is not None and difference.low > 0
        else "no more than chance may do"
    )
    words.append(
        f"What samples of each of {data.by_folds.models:,} fold models replicate of the records "
        "that it was trained on, and of those held out of it, is counted by the same rule. The "
        f"shares differ by {shown} percentage points: {verdict}."
    )
    return [*words, *_correlation(data.correlation)]


def _correlation(found: Interval | None) -> list[str]:
    if found is None:
        return []
    return [
        "The rank correlation of the memorization score with nearness to a replica (the smallest "
        f"ratio of distances) is {interval(*found)}."
    ]


def _counts(found: Replication) -> list[dict[str, str]]:
    return [
        _row("in training", found.inside),
        _row("held out", found.outside),
        {
            "name": "difference",
            "count": "",
            "rate": _percentage(
                found.difference.value, found.difference.low, found.difference.high
            ),
        },
    ]


def _row(name: str, counted: Counted) -> dict[str, str]:
    rate = counted.rate
    return {
        "name": name,
        "count": f"{counted.count:,} of {counted.of:,}",
        "rate": _percentage(rate.value, rate.low, rate.high),
    }


def _percentage(value: float, low: float | None, high: float | None) -> str:
    ends = [None if end is None else 100 * end for end in (low, high)]
    return estimate(100 * value, ends[0], ends[1], "%")


def _columns(
    names: list[str], record: tuple[Any, ...], sample: tuple[Any, ...]
) -> list[tuple[str, str, str]]:
    shown = list(zip(names, record, sample, strict=True))[:MOST_COLUMNS]
    return [(name, in_words(value), in_words(other, 4)) for name, value, other in shown]


def rule_in_words(kind: str, below: float) -> str:
    """Say when a sample replicates a record."""
    if kind == "distance":
        return f"A sample replicates each record that is nearer to it than {number(below)}."
    times = "a third of" if abs(below - 1 / 3) < 1e-3 else f"{number(below)} times"
    return (
        f"A sample replicates a record that is nearer to it than {times} its distance to the "
        "second nearest record (Yoon et al. 2023); of records that the data have twice it finds "
        "none."
    )
