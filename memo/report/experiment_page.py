"""The page of one experiment."""

from typing import Any

import numpy as np
import polars as pl

from memo.report.attacker.attacker_figures import attacker_figures
from memo.report.attacker.attacker_words import attacker_section
from memo.report.audit.replica_section import replica_section
from memo.report.experiment_figures import SPLIT, score_figures
from memo.report.galleries import examples, galleries, nearest
from memo.report.headlines import score_scale
from memo.report.illustration_figure import illustrated_figure
from memo.report.memorized_records import MemorizedRecord, memorized_records
from memo.report.neighbor_figures import neighbor_figures
from memo.report.numbers import number
from memo.report.page import render_page
from memo.report.page_data import NeighborData, ReportData
from memo.report.pairs.group_list import group_list
from memo.report.pairs.twins import twins
from memo.report.ranked_scores import UNRELIABLE, RankedScores, described, is_exact, rank_scores
from memo.report.sampled.sample_test_figure import sample_test_figure
from memo.report.sampled.sample_test_rows import sample_test_rows
from memo.report.thumbnails import data_uri, is_tiny

LISTED = 200
"""Observations in the table of the most memorized, each also a point in the scatter chart."""
DRAWN = 300
"""Further observations, drawn at random, in the scatter chart."""


def render_report(data: ReportData) -> dict[str, bytes]:
    """Return `index.html`, and `charts/<name>.svg` and `.png` beside it.

    Raises:
        ValueError: The scores are empty, or there are not images for all of them.
    """
    ranked, images = rank_scores(data.scores), data.images
    last = int(ranked.table["index"].to_numpy().max())
    if images is not None and len(images.given) <= last:
        raise ValueError(f"there are {len(images.given)} images, and a score of observation {last}")
    listed, others = ranked.table.head(LISTED), ranked.table.slice(LISTED)
    drawn = others[np.sort(np.random.default_rng(0).permutation(len(others))[:DRAWN])]
    figures = score_figures(data, ranked, listed, drawn)
    if data.illustration is not None:
        figures.insert(0, illustrated_figure(data.illustration))
    if data.neighbors is not None:
        figures += neighbor_figures(data.neighbors, ranked.table)
    if data.sample_tests is not None:
        figures.append(sample_test_figure(data.sample_tests))
    attacker, of_attacks = None, []
    if data.attacked is not None:
        attacker = attacker_section(data.attacked, ranked.table)
        of_attacks = attacker_figures(data.attacked, ranked.table)
    rows = described(listed)
    pictures: dict[int, str] = {}
    beside = []
    if images is not None:
        pictures = {
            i: data_uri(images.given[i]) for i in sorted([*listed["index"], *drawn["index"]])
        }
        if ranked.differ and isinstance(data.neighbors, NeighborData):
            beside = nearest(data.neighbors, rows, images)
    return render_page(
        "report.html.j2",
        [*figures, *of_attacks],
        {"images": pictures, "columns": listed.columns, "rows": listed.rows()},
        report=data,
        epoch=data.scores["epoch"].max(),
        count=len(ranked.table),
        figures=figures,
        attacker=attacker,
        attacker_figures=of_attacks,
        rows=rows,
        unreliable=UNRELIABLE,
        examples_of=SPLIT,
        examples=examples(ranked, images) if images is not None else {},
        galleries=galleries(ranked, images) if images is not None else {},
        exact=is_exact(ranked.table),
        with_intervals=bool(ranked.table["low"].count()) and not is_exact(ranked.table),
        shrunk=ranked.shrunk,
        threshold=f"{data.threshold:g}",
        scale=score_scale(
            _statistics(data.quantiles), ranked.table["log_p_out"].to_numpy(), data.dimensions
        ),
        top=[f"{number(100 * rank / len(ranked.table), 2)}%" for rank in range(1, len(rows) + 1)],
        nearest_samples=beside,
        sampled=isinstance(data.neighbors, NeighborData),
        records=_records(data, ranked),
        replicas=_replicas(data, ranked.table),
        sample_tests=sample_test_rows(data.sample_tests),
        twins=None if data.twins is None else twins(data.twins, ranked.table, images, data.records),
        groups=None if data.groups is None else group_list(data.groups),
        pixelated=images is not None and is_tiny(images),
    )


def _records(data: ReportData, ranked: RankedScores) -> list[MemorizedRecord]:
    """The most memorized records of a table, beside those nearest to them."""
    if not ranked.differ or data.records is None:
        return []
    names = data.records.names

    def one(index: int) -> dict[str, Any]:
        scored = described(ranked.table.filter(index=index))
        return scored[0] if scored else {"id": names[index], "score": "no score"}

    return memorized_records(data.records, ranked.table["index"].to_list(), one)


def _replicas(data: ReportData, table: pl.DataFrame) -> dict[str, Any]:
    """Records beside the samples nearest to repeating them, as `replicas.html.j2` shows them."""
    records = data.records
    return replica_section(
        data.replicas,
        lambda index: described(table.filter(index=index))[0],
        data.images,
        None if records is None else records.values,
        None if records is None else records.samples,
    )


def _statistics(quantiles: pl.DataFrame) -> dict[str, float]:
    """Statistics at the last epoch, by name."""
    at = quantiles.filter(pl.col("epoch") == pl.col("epoch").max())
    return dict(at.select("statistic", "value").iter_rows())
