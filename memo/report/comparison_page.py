"""The page that sets several experiments side by side."""

import math
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo import vega
from memo.report import comparison_charts as charts
from memo.report.figures import Figure, chart_files, draw_figures, page_specs
from memo.report.page import render_page
from memo.report.page_data import ComparedExperiment, ComparisonData, Difference, Headline
from memo.report.thumbnails import thumbnails

__all__ = ["render_comparison"]

CURVES = ("q99.9", "q95")


def render_comparison(data: ComparisonData) -> dict[str, bytes]:
    """`index.html`, and `charts/<name>.svg` and `.png` beside it.

    Raises:
        ValueError: There are no experiments, two of one name, or a difference of others.
    """
    scores = {e.name: _scores(e) for e in data.experiments}
    _check(data, scores)
    vega.start()
    figures = [_distributions(scores), _curves(data.experiments)]
    trade = _frontier(data)
    agreements = [_agreement(place, d, data) for place, d in enumerate(data.differences)]
    every = [*trade, *figures, *agreements]
    drawn = draw_figures(every)
    page = render_page(
        "compare.html.j2",
        {"charts": page_specs(every)},
        comparison=data,
        trade=trade,
        thumbnails=_thumbnails(data),
        statistics=_statistics(data.experiments),
        figures=figures,
        differences=list(zip(data.differences, agreements, strict=True)),
        correlation=_correlation,
    )
    return {"index.html": page} | chart_files(drawn)


def _frontier(data: ComparisonData) -> list[Figure]:
    found = data.frontier
    if found is None:
        return []
    return [
        Figure(
            "frontier",
            "What less memorization costs",
            [charts.frontier(found.points, found.baseline, found.statistic)],
            "To the left less is memorized; further up the density is better. Bars are one "
            "standard error either way: of memorization over repeats of the training, of the "
            "likelihood over observations. The dashed line joins the experiments that no other "
            "beats in both.",
            "Bars that overlap: which of two such points is on the line may be chance, and the "
            "table's verdicts say of which differences that is unlikely.",
        )
    ]


def _thumbnails(data: ComparisonData) -> dict[int, str]:
    found = data.frontier
    if found is None or found.images is None:
        return {}
    moved = {m.index for one in found.movers for m in (*one.lost, *one.gained)}
    return thumbnails(found.images, sorted(moved))


def _check(data: ComparisonData, scores: dict[str, NDArray[np.float64]]) -> None:
    if not scores:
        raise ValueError("there are no experiments to compare")
    if len(scores) < len(data.experiments):
        raise ValueError("two of the experiments to compare have the same name")
    for difference in data.differences:
        for name in (difference.first, difference.second):
            if name not in scores:
                raise ValueError(f"a difference names {name!r}, which is not among the compared")


def _scores(experiment: ComparedExperiment) -> NDArray[np.float64]:
    return _last_epoch(experiment)["memorization"].to_numpy().astype(np.float64)


def _last_epoch(experiment: ComparedExperiment) -> pl.DataFrame:
    scores = experiment.scores
    if "epoch" not in scores.columns:
        return scores
    return scores.filter(pl.col("epoch") == pl.col("epoch").max())


def _statistics(experiments: list[ComparedExperiment]) -> list[tuple[Headline, list[Any]]]:
    """Each statistic that any experiment has, with the headline of each experiment or None."""
    by_name = [{h.name: h for h in e.headlines} for e in experiments]
    first_with = {name: h for headlines in reversed(by_name) for name, h in headlines.items()}
    names = dict.fromkeys(name for headlines in by_name for name in headlines)
    return [(first_with[name], [h.get(name) for h in by_name]) for name in names]


def _distributions(scores: dict[str, NDArray[np.float64]]) -> Figure:
    name, title = "distributions", "Distributions of the memorization score"
    if np.ptp(np.concatenate(list(scores.values()))) == 0:
        return Figure(name, title, missing="All scores of all experiments are the same.")
    return Figure(
        name,
        title,
        [charts.overlaid_distributions(scores), charts.exceedance(scores)],
        "Above: the share of each experiment's observations in each bin, vertical lines at the "
        "95% quantiles. Below: the share whose score exceeds each value, which shows the tails.",
        "An experiment that memorizes less has a right tail that ends earlier. One that is only "
        "noisier has both tails longer.",
    )


def _curves(experiments: list[ComparedExperiment]) -> Figure:
    name, title = "quantiles", "Memorization while training"
    quantiles = {e.name: e.quantiles for e in experiments if e.quantiles["epoch"].n_unique() > 1}
    if not quantiles:
        return Figure(name, title, missing="No experiment was scored at more than one epoch.")
    order = [e.name for e in experiments]
    missing = [name for name in order if name not in quantiles]
    left_out = f" Not shown, scored at one epoch: {', '.join(missing)}." if missing else ""
    return Figure(
        name,
        title,
        [charts.quantile_curves_by_experiment(quantiles, s, order) for s in CURVES],
        "The 99.9% and the 95% quantile of the scores at each scored epoch, bars one standard "
        f"error either side.{left_out}",
        "Where two curves differ only because one training is slower, the slower one reaches the "
        "same height at a later epoch and a like held-out log-likelihood.",
    )


def _agreement(place: int, difference: Difference, data: ComparisonData) -> Figure:
    name, title = f"agreement-{place + 1}", "Do both memorize the same observations?"
    if difference.problem is not None:
        return Figure(name, title, missing="They cannot be compared.")
    tables = {e.name: _last_epoch(e).select("index", "memorization") for e in data.experiments}
    both = tables[difference.first].join(tables[difference.second], on="index")
    first, second = (
        both[column].to_numpy().astype(np.float64)
        for column in ("memorization", "memorization_right")
    )
    if not len(both) or np.ptp(first) == 0 or np.ptp(second) == 0:
        return Figure(name, title, missing="The scores of one of them are all the same.")
    return Figure(
        name,
        title,
        [charts.agreement((difference.first, first), (difference.second, second))],
        "The score of each observation under both experiments, counted in rectangles; dashed, "
        "where the two are equal.",
        "If the two memorize different observations, the high scores of one lie anywhere along "
        "the other's axis.",
    )


def _correlation(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "The rank correlation of the scores is not defined."
    return (
        f"The rank correlation of the scores is {value:.2f} (1: the same order, 0: no relation)."
    ).replace("-", "−")
