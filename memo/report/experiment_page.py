"""The page of one experiment."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo import vega
from memo.report import charts
from memo.report.binning import HIGHLY, highly_memorized
from memo.report.figures import Figure, chart_files, draw_figures, page_specs
from memo.report.illustration_figure import illustrated_figure
from memo.report.memorized_records import MemorizedRecord, memorized_records
from memo.report.neighbor_figures import Beside, nearest_samples, neighbor_figures
from memo.report.numbers import estimate, number, percent
from memo.report.page import render_page
from memo.report.page_data import NeighborData, RecordData, ReportData
from memo.report.themes import Chart
from memo.report.thumbnails import is_tiny, thumbnails

__all__ = ["UNRELIABLE", "render_report"]

LISTED = 200
"""Observations in the table of the most memorized, each also a point in the scatter chart."""
DRAWN = 300
"""Observations drawn at random for the scatter chart."""
PICTURED = 24
"""Observations in each gallery."""
EXAMPLES = 16
"""Observations of either kind as examples on the density."""
FEWEST_TO_SPLIT = 40
MOST_LOSSES = 500
SPLIT = "log-likelihood-split"

COLUMNS = [
    "index",
    "id",
    "label",
    "log_p_in",
    "log_p_out",
    "memorization",
    "std_error",
    "unreliable_models",
]

UNRELIABLE = "†"
"""Marks scores that rest on unreliable log-likelihoods."""


@dataclass(frozen=True)
class Gallery:
    """Some observations, side by side."""

    title: str
    observations: list[dict[str, Any]]


def render_report(data: ReportData) -> dict[str, bytes]:
    """`index.html`, and `charts/<name>.svg` and `.png` beside it.

    Raises:
        ValueError: The scores are empty, or there are not images for all of them.
    """
    ranked = _last_epoch(data.scores)
    _check(ranked, data.images)
    vega.start()
    drawn = _drawn_at_random(ranked)
    figures = [
        *([] if data.illustration is None else [illustrated_figure(data.illustration)]),
        _distribution(ranked),
        _training(data),
        _by_log_likelihood(ranked, drawn, data.images is not None),
        _split_log_likelihood(ranked),
        *([] if data.neighbors is None else neighbor_figures(data.neighbors, ranked)),
    ]
    drawn_figures = draw_figures(figures)
    listed = [_described(row) for row in ranked.head(LISTED).iter_rows(named=True)]
    galleries = _galleries(ranked) if data.images is not None else []
    examples = _examples(ranked) if data.images is not None else []
    seen = {row["index"] for row in listed} | set(drawn["index"].to_list())
    page = render_page(
        "report.html.j2",
        {
            "charts": page_specs(figures),
            "images": _thumbnails(data.images, seen),
            "columns": COLUMNS,
            "rows": [_exact(row) for row in listed],
        },
        report=data,
        epoch=ranked["epoch"][0],
        count=len(ranked),
        figures=figures,
        rows=listed,
        unreliable=UNRELIABLE,
        galleries=galleries,
        examples={SPLIT: examples},
        pictures=_thumbnails(data.images, _pictured(galleries + examples)),
        exact=_is_exact(ranked),
        nearest_samples=_nearest_samples(data, ranked, listed),
        records=_records(data.records, ranked),
        no_gallery=_why_no_gallery(ranked, data.images),
        pixelated=data.images is not None and is_tiny(data.images),
    )
    return {"index.html": page} | chart_files(drawn_figures)


def _last_epoch(scores: pl.DataFrame) -> pl.DataFrame:
    """Scores at the last scored epoch, the most memorized first."""
    last = scores.filter(pl.col("epoch") == pl.col("epoch").max())
    return (
        last.select("epoch", *COLUMNS)
        .with_columns(pl.col("std_error").cast(pl.Float64).fill_nan(None))
        .sort(["memorization", "index"], descending=[True, False])
    )


def _check(ranked: pl.DataFrame, images: NDArray[np.uint8] | None) -> None:
    if ranked.is_empty():
        raise ValueError("there are no scores to report")
    last = int(ranked["index"].to_numpy().max())
    if images is not None and len(images) <= last:
        raise ValueError(f"there are {len(images)} images, and a score of observation {last}")


def _distribution(ranked: pl.DataFrame) -> Figure:
    name, title = "distribution", "Distribution of the memorization score"
    m = _scores(ranked)
    if np.ptp(m) == 0:
        return Figure(name, title, missing=f"All scores are the same, {number(m[0])} nats.")
    shows = (
        f"How the scores of all {len(m):,} observations are spread. Half lie below "
        f"{number(float(np.median(m)))} nats; what is memorized is the right tail."
    )
    if m.min() < 0:
        shows += (
            f" {percent(float((m < 0).mean()))} of the scores are negative, which chance alone "
            "can make them: the left tail shows how far."
        )
    if len(m) <= 1000:
        shows += (
            f" With {len(m):,} observations the 99.9% quantile lies between the two largest scores."
        )
    return Figure(
        name,
        title,
        [charts.distribution(m)],
        shows,
        "Were nothing memorized, the scores would scatter around zero, with a right tail no "
        "longer than the left.",
    )


def _training(data: ReportData) -> Figure:
    name, title = "training", "Memorization while training"
    epochs, losses = data.quantiles["epoch"].n_unique(), _thinned(data.losses)
    if epochs < 2 and len(losses) < 2:
        return Figure(
            name,
            title,
            missing="One epoch was scored and no losses over epochs are known, so there is no "
            "course of training to draw.",
        )
    last = max(int(t["epoch"].to_numpy().max()) for t in (data.quantiles, losses) if len(t))
    turning_point = _turning_point(losses)
    panels: list[Chart] = []
    shows: list[str] = []
    contradicts = ""
    if epochs > 1:
        contradicts = (
            "Were memorization only overfitting, the upper quantiles would stay flat for as long "
            "as the held-out loss falls."
        )
        panels.append(charts.quantile_curves(data.quantiles, last, turning_point))
        exact = _is_exact(data.quantiles)
        shows.append(
            "Quantiles of the score at each scored epoch"
            + ("." if exact else ", bars one standard error either side.")
        )
    else:
        shows.append("One epoch was scored, so the scores have no course to draw.")
    if len(losses) > 1:
        panels.append(charts.loss_curves(losses, last, turning_point))
        shows.append("Loss is the mean over fold models of what training minimizes.")
    shows.append(_before_turning(data.quantiles, turning_point))
    return Figure(name, title, panels, " ".join(filter(None, shows)), contradicts)


def _turning_point(losses: pl.DataFrame) -> int | None:
    """The epoch of the lowest held-out loss."""
    known = losses.drop_nulls("held_out")
    if len(known) < 2:
        return None
    return int(known["epoch"][int(known["held_out"].to_numpy().argmin())])


def _before_turning(quantiles: pl.DataFrame, turning_point: int | None) -> str:
    """How the 99.9% quantile moves while held-out loss still falls."""
    if turning_point is None:
        return ""
    sentence = f"Held-out loss is lowest at epoch {turning_point}."
    until = quantiles.filter(
        (pl.col("statistic") == "q99.9") & (pl.col("epoch") <= turning_point)
    ).sort("epoch")
    if len(until) < 2:
        return sentence
    first, last = until.row(0, named=True), until.row(-1, named=True)
    return (
        f"{sentence} While it still falls, from epoch {first['epoch']} to {last['epoch']}, the "
        f"99.9% quantile goes from {estimate(first['value'], first['std_error'])} to "
        f"{estimate(last['value'], last['std_error'], 'nats')}."
    )


def _thinned(losses: pl.DataFrame) -> pl.DataFrame:
    """At most about `MOST_LOSSES` epochs, the lowest held-out loss among them."""
    losses = losses.sort("epoch").with_columns(
        pl.col("train", "held_out").cast(pl.Float64).fill_nan(None)
    )
    step = -(-len(losses) // MOST_LOSSES)
    row = pl.int_range(pl.len())
    lowest = (pl.col("held_out") == pl.col("held_out").min()).fill_null(False)
    return losses.filter((row % step == 0) | (row == pl.len() - 1) | lowest)


def _by_log_likelihood(ranked: pl.DataFrame, drawn: pl.DataFrame, with_images: bool) -> Figure:
    name, title = "log-likelihood", "Memorization against log-likelihood"
    if _is_constant(ranked, "memorization") or _is_constant(ranked, "log_p_in"):
        return Figure(name, title, missing="Scores or log-likelihoods are all the same.")
    points = pl.concat(
        [
            ranked.head(LISTED).with_columns(group=pl.lit("most memorized")),
            drawn.with_columns(group=pl.lit("drawn at random")),
        ]
    )
    texts = [_score(row) for row in points.iter_rows(named=True)]
    shown = points.select(
        "index", "id", "label", "group", "log_p_in", "memorization", text=pl.Series(texts)
    ).with_columns(pl.col("log_p_in", "memorization").round(4), pl.col("label").fill_null("–"))
    look = "its image and its score" if with_images else "its name and its score"
    which = f"the {LISTED} most memorized and {len(drawn)} others drawn at random"
    return Figure(
        name,
        title,
        [
            charts.memorization_by_log_likelihood(
                _column(ranked, "log_p_in"), _scores(ranked), shown, with_images
            )
        ],
        "Grey: how many of all observations lie there. Points: "
        f"{which if len(drawn) else 'all of them'}; point at one for {look}. "
        f"{_share_among_least_likely(ranked)}",
        "Were memorization the same as being an outlier of the density, the high scores would "
        "all lie at the left.",
    )


def _share_among_least_likely(ranked: pl.DataFrame) -> str:
    if len(ranked) < FEWEST_TO_SPLIT:
        return ""
    log_p = _column(ranked, "log_p_in")
    share = float((log_p[_highly(ranked)] <= np.quantile(log_p, 1 - HIGHLY)).mean())
    return (
        f"Of the 5% most memorized, {percent(share)} are also among the 5% least likely; "
        "5% would be, were the two unrelated."
    )


def _split_log_likelihood(ranked: pl.DataFrame) -> Figure:
    name, title = SPLIT, "Where on the density the memorized observations lie"
    if len(ranked) < FEWEST_TO_SPLIT:
        return Figure(
            name, title, missing=f"{len(ranked)} observations are too few to split by score."
        )
    highly = _highly(ranked)
    if not _is_split(ranked):
        return Figure(name, title, missing="Scores or log-likelihoods are all the same.")
    log_p = _column(ranked, "log_p_in")
    return Figure(
        name,
        title,
        [charts.log_likelihood_counts(log_p, highly), charts.log_likelihood_shares(log_p, highly)],
        "Highly memorized means a score above the 95% quantile. Above: how many of them, and of "
        "the others, have each log-likelihood. Below: their share of each bin, bars one standard "
        "error (Wilson) either side, dashed the share over all.",
        "Were only unlikely observations memorized, the share would be zero but for the bins "
        "at the left; were the two unrelated, it would follow the dashed line.",
    )


def _is_split(ranked: pl.DataFrame) -> bool:
    """Whether regular and highly memorized observations can be set on the density."""
    return (
        len(ranked) >= FEWEST_TO_SPLIT
        and bool(_highly(ranked).any())
        and not _is_constant(ranked, "log_p_in")
    )


def _examples(ranked: pl.DataFrame) -> list[Gallery]:
    """Some of either kind, evenly spread over the ranks of log p in."""
    if not _is_split(ranked):
        return []
    highly = _highly(ranked)
    galleries = []
    for kind, member in (("Highly memorized", highly), ("Regular", ~highly)):
        by_log_p = ranked.filter(member).sort("log_p_in", "index")
        places = np.linspace(0, len(by_log_p) - 1, min(EXAMPLES, len(by_log_p))).round()
        title = f"{kind}, from the least likely of them to the most"
        galleries.append(Gallery(title, _rows(by_log_p[places.astype(np.int64)])))
    return galleries


def _galleries(ranked: pl.DataFrame) -> list[Gallery]:
    if _is_constant(ranked, "memorization"):
        return []
    if len(ranked) < 3 * PICTURED // 4:
        return [Gallery("All observations, the most memorized first", _rows(ranked))]
    size = min(PICTURED, len(ranked) // 3)
    start = (len(ranked) - size) // 2
    return [
        Gallery("Most memorized", _rows(ranked.head(size))),
        Gallery("Around the median", _rows(ranked.slice(start, size))),
        Gallery("Least memorized", _rows(ranked.tail(size).reverse())),
    ]


def _nearest_samples(
    data: ReportData, ranked: pl.DataFrame, listed: list[dict[str, Any]]
) -> list[Beside]:
    if not isinstance(data.neighbors, NeighborData) or data.images is None:
        return []
    if _is_constant(ranked, "memorization"):
        return []
    return nearest_samples(data.neighbors, listed, data.images)


def _records(data: RecordData | None, ranked: pl.DataFrame) -> list[MemorizedRecord]:
    if data is None or _is_constant(ranked, "memorization"):
        return []
    in_order = ranked.sort("index")
    return memorized_records(
        data, ranked["index"].to_list(), lambda index: _described(in_order.row(index, named=True))
    )


def _why_no_gallery(ranked: pl.DataFrame, images: NDArray[np.uint8] | None) -> str:
    if images is None:
        return "The observations are not images, so there is nothing to look at here."
    return "All scores are the same, so no observation is more memorized than another."


def _pictured(galleries: list[Gallery]) -> set[int]:
    return {row["index"] for gallery in galleries for row in gallery.observations}


def _thumbnails(images: NDArray[np.uint8] | None, indices: Iterable[int]) -> dict[int, str]:
    return {} if images is None else thumbnails(images, sorted(indices))


def _drawn_at_random(ranked: pl.DataFrame) -> pl.DataFrame:
    """Some of the observations that are not listed; the same ones each time."""
    others = ranked.slice(LISTED)
    count = min(DRAWN, len(others))
    chosen = np.random.default_rng(0).permutation(len(others))[:count]
    return others[np.sort(chosen)]


def _rows(table: pl.DataFrame) -> list[dict[str, Any]]:
    return [_described(row) for row in table.iter_rows(named=True)]


def _described(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"score": _score(row)}


def _score(row: dict[str, Any]) -> str:
    mark = f" {UNRELIABLE}" if row["unreliable_models"] else ""
    return estimate(row["memorization"], row["std_error"]) + mark


def _exact(row: dict[str, Any]) -> list[Any]:
    return [row[column] for column in COLUMNS]


def _highly(ranked: pl.DataFrame) -> NDArray[np.bool_]:
    return highly_memorized(_scores(ranked))


def _is_exact(table: pl.DataFrame) -> bool:
    """Whether nothing in a table of estimates was in fact estimated."""
    return bool((table["std_error"].cast(pl.Float64).fill_null(np.inf) == 0).all())


def _is_constant(table: pl.DataFrame, column: str) -> bool:
    return bool(np.ptp(_column(table, column)) == 0)


def _scores(table: pl.DataFrame) -> NDArray[np.float64]:
    return _column(table, "memorization")


def _column(table: pl.DataFrame, column: str) -> NDArray[np.float64]:
    return table[column].to_numpy().astype(np.float64)
