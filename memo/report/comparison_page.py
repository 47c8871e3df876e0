"""The page that sets several experiments side by side."""

import math
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from memo.report.charts import comparison_charts as charts
from memo.report.charts.binning import all_alike
from memo.report.figures import Figure
from memo.report.galleries import moved
from memo.report.page import render_page
from memo.report.page_data import ComparedExperiment, ComparisonData, Difference, Frontier, Headline
from memo.scores.table import Scores

CURVES = ("q99.9", "q95")


def render_comparison(data: ComparisonData) -> dict[str, bytes]:
    """Return `index.html`, and `charts/<name>.svg` and `.png` beside it.

    Raises:
        ValueError: Two experiments have one name, or there is a difference of others.
    """
    tables = {
        e.name: Scores(e.scores).last.table.select("index", "memorization")
        for e in data.experiments
    }
    _check(data, set(tables))
    found = data.frontier
    figures = [_distributions(tables), _curves(data.experiments)] if tables else []
    trade = [] if found is None else [_frontier(found)]
    agreements = [_agreement(place, d, tables) for place, d in enumerate(data.differences, 1)]
    return render_page(
        "compare.html.j2",
        [*trade, *figures, *agreements],
        {},
        comparison=data,
        trade=trade,
        moved={} if found is None else {m.name: moved(m, found.images) for m in found.movers},
        statistics=_statistics(data.experiments),
        figures=figures,
        differences=list(zip(data.differences, agreements, strict=True)),
        correlation=_correlation,
    )


def _check(data: ComparisonData, names: set[str]) -> None:
    if len(names) < len(data.experiments):
        raise ValueError("two of the experiments to compare have the same name")
    for difference in data.differences:
        for name in {difference.first, difference.second} - names:
            raise ValueError(f"a difference names {name!r}, which is not among the compared")


def _statistics(experiments: list[ComparedExperiment]) -> list[tuple[Headline, list[Any]]]:
    """Return each statistic that any experiment has, with each experiment's headline or None."""
    by_name = [{h.name: h for h in e.headlines} for e in experiments]
    first_with: dict[str, Headline] = {}
    for headline in (h for headlines in by_name for h in headlines.values()):
        first_with.setdefault(headline.name, headline)
    return [(first, [h.get(name) for h in by_name]) for name, first in first_with.items()]


def _frontier(found: Frontier) -> Figure:
    return Figure(
        "frontier",
        "What less memorization costs",
        [charts.frontier(found.points, found.baseline, found.statistic, found.unit)],
        "To the left less is memorized; further up the density is better. Bars are 95% "
        "intervals: of memorization over repeats of the training, of the likelihood over "
        "observations. The dashed line joins the experiments that no other beats in both.",
        "Bars that overlap: which of two such points is on the line may be chance, and the "
        "table's verdicts say of which differences that is unlikely.",
    )


def _distributions(tables: dict[str, pl.DataFrame]) -> Figure:
    figure = partial(Figure, "distributions", "Distributions of the memorization score")
    scores = {name: table["memorization"].to_numpy() for name, table in tables.items()}
    if all_alike(np.concatenate(list(scores.values()))):
        return figure(missing="All scores of all experiments are the same.")
    return figure(
        [charts.overlaid_distributions(scores), charts.exceedance(scores)],
        "Above: the share of each experiment's observations in each bin, vertical lines at the "
        "95% quantiles. Below: the share whose score exceeds each value, which shows the tails.",
        "An experiment that memorizes less has a right tail that ends earlier. One that is only "
        "noisier has both tails longer.",
    )


def _curves(experiments: list[ComparedExperiment]) -> Figure:
    figure = partial(Figure, "quantiles", "Memorization while training")
    quantiles = {e.name: e.quantiles for e in experiments if e.quantiles["epoch"].n_unique() > 1}
    if not quantiles:
        return figure(missing="No experiment was scored at more than one epoch.")
    order = [e.name for e in experiments]
    missing = [name for name in order if name not in quantiles]
    left_out = f" Not shown, scored at one epoch: {', '.join(missing)}." if missing else ""
    return figure(
        [charts.quantile_curves_by_experiment(quantiles, s, order) for s in CURVES],
        "The 99.9% and the 95% quantile of the scores at each scored epoch, bars 95% "
        f"intervals.{left_out}",
        "Where two curves differ only because one training is slower, the slower one reaches the "
        "same height at a later epoch and a like held-out log-likelihood.",
    )


def _agreement(place: int, difference: Difference, tables: dict[str, pl.DataFrame]) -> Figure:
    figure = partial(Figure, f"agreement-{place}", "Do both memorize the same observations?")
    if difference.problem is not None:
        return figure(missing="They cannot be compared.")
    both = tables[difference.first].join(tables[difference.second], on="index")
    first, second = (both[c].to_numpy() for c in ("memorization", "memorization_right"))
    if not len(both) or all_alike(first) or all_alike(second):
        return figure(missing="The scores of one of them are all the same.")
    return figure(
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
        f"The rank correlation of the scores, as they stand, is {value:.2f} (1: the same order, 0: "
        "no relation); their noise lowers it."
    ).replace("-", "−")
