"""The figures of one experiment's scores: charts and their words."""

from functools import partial

import numpy as np
import polars as pl

from memo.report.charts import experiment_charts as charts
from memo.report.charts.binning import HIGHLY
from memo.report.charts.themes import Chart
from memo.report.figures import Figure
from memo.report.numbers import estimate, number, percent
from memo.report.page_data import ReportData
from memo.report.ranked_scores import FEWEST_TO_SPLIT, RankedScores, described, is_exact

MOST_LOSSES = 500
SPLIT = "log-likelihood-split"
"""Name of the figure that examples follow."""
ALL_THE_SAME = "Scores or log-likelihoods are all the same."


def score_figures(
    data: ReportData, ranked: RankedScores, listed: pl.DataFrame, drawn: pl.DataFrame
) -> list[Figure]:
    """Show how scores are spread, come about in training, and go with log-likelihoods.

    Args:
        data: The report's.
        ranked: Its scores.
        listed: The first rows of their table.
        drawn: Some of its other rows.
    """
    return [
        _distribution(ranked),
        _training(data),
        _by_log_likelihood(ranked, listed, drawn, data.images is not None),
        _split_log_likelihood(ranked),
    ]


def _distribution(ranked: RankedScores) -> Figure:
    figure = partial(Figure, "distribution", "Distribution of the memorization score")
    m = ranked.memorization
    if not ranked.differ:
        return figure(missing=f"All scores are the same, {number(m[0])} nats.")
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
    if ranked.shrunk:
        shows += (
            " These are the scores with their noise, which widens both tails; the quantiles among "
            "the numbers above are of the true scores."
        )
    return figure(
        [charts.distribution(m)],
        shows,
        "Were nothing memorized, the scores would scatter around zero, with a right tail no "
        "longer than the left.",
    )


def _training(data: ReportData) -> Figure:
    figure = partial(Figure, "training", "Memorization while training")
    quantiles, losses = data.quantiles, _thinned(data.losses)
    several = quantiles["epoch"].n_unique() > 1
    if not several and len(losses) < 2:
        return figure(
            missing="One epoch was scored and no losses over epochs are known, so there is no "
            "course of training to draw."
        )
    last = max(int(t["epoch"].to_numpy().max()) for t in (quantiles, losses) if len(t))
    known = losses.drop_nulls("held_out").sort("held_out", "epoch")
    turning_point = int(known["epoch"][0]) if len(known) > 1 else None
    panels: list[Chart] = []
    shows, contradicts = "One epoch was scored, so the scores have no course to draw.", ""
    if several:
        panels.append(charts.quantile_curves(quantiles, last, turning_point))
        bars = ", bars 95% intervals" if _with_intervals(quantiles) else ""
        shows = f"Quantiles of the score at each scored epoch{bars}."
        contradicts = (
            "Were memorization only overfitting, the upper quantiles would stay flat for as long "
            "as the held-out loss falls."
        )
    if len(losses) > 1:
        panels.append(charts.loss_curves(losses, last, turning_point))
        shows += " Loss is the mean over fold models of what training minimizes."
    return figure(panels, shows + _before_turning(quantiles, turning_point), contradicts)


def _before_turning(quantiles: pl.DataFrame, turning_point: int | None) -> str:
    """Tell how the 99.9% quantile moves while held-out loss still falls."""
    if turning_point is None:
        return ""
    sentence = f" Held-out loss is lowest at epoch {turning_point}."
    until = quantiles.filter(pl.col("epoch") <= turning_point, statistic="q99.9").sort("epoch")
    if len(until) < 2:
        return sentence
    first, last = until.row(0, named=True), until.row(-1, named=True)
    known = " (95% intervals)" if _with_intervals(until) else ""
    return (
        f"{sentence} While it still falls, from epoch {first['epoch']} to {last['epoch']}, the "
        f"99.9% quantile goes from {estimate(first['value'], first['low'], first['high'])} to "
        f"{estimate(last['value'], last['low'], last['high'], 'nats')}{known}."
    )


def _with_intervals(quantiles: pl.DataFrame) -> bool:
    return bool(quantiles["low"].count()) and not is_exact(quantiles)


def _thinned(losses: pl.DataFrame) -> pl.DataFrame:
    """Return about `MOST_LOSSES` epochs at most, the lowest held-out loss among them."""
    losses = losses.sort("epoch").with_columns(
        pl.col("train", "held_out").cast(pl.Float64).fill_nan(None)
    )
    step = -(-len(losses) // MOST_LOSSES)
    row = pl.int_range(pl.len())
    lowest = (pl.col("held_out") == pl.col("held_out").min()).fill_null(False)
    return losses.filter((row % step == 0) | (row == pl.len() - 1) | lowest)


def _by_log_likelihood(
    ranked: RankedScores, listed: pl.DataFrame, drawn: pl.DataFrame, with_images: bool
) -> Figure:
    figure = partial(Figure, "log-likelihood", "Memorization against log-likelihood")
    if not ranked.differ or np.ptp(ranked.log_p_in) == 0:
        return figure(missing=ALL_THE_SAME)
    points = pl.concat(
        [
            listed.with_columns(group=pl.lit("most memorized")),
            drawn.with_columns(group=pl.lit("drawn at random")),
        ]
    )
    texts = pl.Series([row["score"] for row in described(points)])
    shown = points.select(
        "index", "id", "label", "group", "log_p_in", "memorization", text=texts
    ).with_columns(pl.col("log_p_in", "memorization").round(4), pl.col("label").fill_null("–"))
    look = "its image and its score" if with_images else "its name and its score"
    which = f"the {len(listed)} most memorized and {len(drawn)} others drawn at random"
    return figure(
        [
            charts.memorization_by_log_likelihood(
                ranked.log_p_in, ranked.memorization, shown, with_images
            )
        ],
        "Grey: how many of all observations lie there. Points: "
        f"{which if len(drawn) else 'all of them'}; point at one for {look}. "
        f"{_share_among_least_likely(ranked)}",
        "Were memorization the same as being an outlier of the density, the high scores would "
        "all lie at the left.",
    )


def _share_among_least_likely(ranked: RankedScores) -> str:
    if len(ranked.table) < FEWEST_TO_SPLIT:
        return ""
    log_p = ranked.log_p_in
    share = float((log_p[ranked.highly] <= np.quantile(log_p, 1 - HIGHLY)).mean())
    return (
        f"Of the 5% most memorized, {percent(share)} are also among the 5% least likely; "
        "5% would be, were the two unrelated."
    )


def _split_log_likelihood(ranked: RankedScores) -> Figure:
    figure = partial(Figure, SPLIT, "Where on the density the memorized observations lie")
    if len(ranked.table) < FEWEST_TO_SPLIT:
        return figure(missing=f"{len(ranked.table)} observations are too few to split by score.")
    if not ranked.split:
        return figure(missing=ALL_THE_SAME)
    return figure(
        [
            charts.log_likelihood_counts(ranked.log_p_in, ranked.highly),
            charts.log_likelihood_shares(ranked.log_p_in, ranked.highly),
        ],
        "Highly memorized means a score above the 95% quantile of all, as they stand, noise "
        "included. Above: how many of them, and of "
        "the others, have each log-likelihood. Below: their share of each bin, bars 95% "
        "intervals (Wilson), dashed the share over all.",
        "Were only unlikely observations memorized, the share would be zero but for the bins "
        "at the left; were the two unrelated, it would follow the dashed line.",
    )
