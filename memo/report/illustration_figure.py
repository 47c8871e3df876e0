"""The figure of memorization beside overfitting: densities in one or two dimensions."""

import numpy as np
from numpy.typing import NDArray

from memo.report.charts.density_charts import density_charts
from memo.report.figures import Figure
from memo.report.numbers import number
from memo.report.page_data import Illustration

FloatArray = NDArray[np.float64]

LOCAL = 0.25
"""Memorization is called local where half of the others change by less than this share of it."""


def illustrated_figure(data: Illustration) -> Figure:
    """Show memorization of one observation beside overfitting to a few."""
    jagged = " Jags are errors of the estimates of log p." if data.estimated else ""
    shaded = "" if len(data.axes) == 1 else " Shading: the square root of the density."
    return Figure(
        "illustration",
        "What memorization is, and what it is not",
        density_charts(data),
        f"{_memorization(data)} {_overfitting(data)}{shaded}{jagged}",
        "Did the densities with and without the observation differ elsewhere as much as there, the "
        "difference would speak of training as such, and not of this observation.",
        beside=True,
    )


def _memorization(data: Illustration) -> str:
    change = _at_points(data, data.log_p_with) - _at_points(data, data.log_p_without)
    elsewhere = float(np.median(np.abs(change[1:])))
    kind = "the density" if data.models == 1 else f"the mean density of {data.models} models"
    return (
        f"Memorization: {kind} trained with the most memorized observation, {data.name} (circled), "
        f"and {kind} trained without it. There log p differs by {number(float(change[0]))} nats, "
        f"at half of the other observations by less than {number(elsewhere)}: "
        + (
            "memorization is local."
            if elsewhere < LOCAL * change[0]
            else "not local here, so that other causes than this observation are at work."
        )
    )


def _overfitting(data: Illustration) -> str:
    if isinstance(data.overfitted, str):
        return f"Overfitting is not shown, since the model cannot be fitted: {data.overfitted}."
    few, others = np.split(_at_points(data, data.overfitted.log_p)[1:], [data.overfitted.count])
    return (
        "Overfitting, which it is not: the same training on only "
        f"{data.overfitted.count} other observations. Over these log p is "
        f"{number(float(few.mean()))} nats in the mean, over those that it did not see "
        f"{number(float(others.mean()))}: a gap between all that was seen and all that was not."
    )


def _at_points(data: Illustration, log_p: FloatArray) -> FloatArray:
    return log_p[-len(data.points) :]
