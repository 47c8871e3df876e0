"""Statistics of memorization over observations: one entry each, for metrics, pages and charts."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from memo.scores.aggregate import FloatArray

__all__ = ["STATISTICS", "Statistic"]


@dataclass(frozen=True)
class Statistic:
    """A statistic of the scores of all observations, with the words that pages use for it."""

    name: str
    """Key in metrics.json and value of `memo compare --statistic`."""
    label: str
    """Name on pages, as in "<label> of memorization"."""
    meaning: str
    """One sentence for readers."""
    function: Callable[[FloatArray], float | np.floating]
    """From memorization, (n,) nats, to a number."""
    unit: str = "nats"
    """Unit of that number, empty where it has none. Those in nats share one chart over epochs."""

    def __call__(self, memorization: FloatArray) -> float:
        """Value for the scores (n,) in nats."""
        return float(self.function(memorization))


STATISTICS = {
    statistic.name: statistic
    for statistic in (
        Statistic(
            "mean",
            "Mean",
            "What an average observation owes to its own presence in training.",
            np.mean,
        ),
        Statistic(
            "q50",
            "Median",
            "Half of the observations are memorized less than this.",
            lambda m: np.quantile(m, 0.5),
        ),
        Statistic(
            "q95",
            "95% quantile",
            "One observation in twenty is memorized more than this.",
            lambda m: np.quantile(m, 0.95),
        ),
        Statistic(
            "q99.9",
            "99.9% quantile",
            "One observation in a thousand is memorized more than this.",
            lambda m: np.quantile(m, 0.999),
        ),
        Statistic("max", "Maximum", "The most memorized observation.", np.max),
    )
}
"""All statistics by name, in the order in which pages list them."""
