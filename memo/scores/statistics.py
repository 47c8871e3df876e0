"""Statistics of memorization over observations: one entry each, for metrics, pages and charts."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from memo.scores.aggregate import FloatArray


@dataclass(frozen=True)
class Statistic:
    """A statistic of the scores of all observations, with the words that pages use for it.

    Example:
        >>> round(STATISTICS["q95"](np.linspace(0, 1, 101)), 12)
        0.95
    """

    label: str
    """Name on pages, as in "<label> of memorization"."""
    meaning: str
    """One sentence for readers."""
    function: Callable[[FloatArray], float | np.floating]
    """From memorization, (n,) nats, to a number."""
    unit: str = "nats"
    """Unit of that number, empty where it has none. Those in nats share one chart over epochs."""
    linear: bool = False
    """True for a mean: noise leaves it where it is, and it is taken of the scores as they stand.
    All others are taken of the true scores, as far as these are known (`memo.scores.shrinkage`):
    of noisy ones, a high quantile is too high."""

    def __call__(self, memorization: FloatArray) -> float:
        """Value for the scores (n,) in nats."""
        return float(self.function(memorization))


def _quantile(level: float) -> Callable[[FloatArray], np.floating]:
    return lambda memorization: np.quantile(memorization, level)


STATISTICS = {
    "mean": Statistic(
        "Mean",
        "What an average observation owes to its own presence in training.",
        np.mean,
        linear=True,
    ),
    "q50": Statistic(
        "Median", "Half of the observations are memorized less than this.", _quantile(0.5)
    ),
    "q95": Statistic(
        "95% quantile", "One observation in twenty is memorized more than this.", _quantile(0.95)
    ),
    "q99.9": Statistic(
        "99.9% quantile",
        "One observation in a thousand is memorized more than this.",
        _quantile(0.999),
    ),
    "max": Statistic("Maximum", "The most memorized observation.", np.max),
}
"""All statistics, in the order in which pages list them, by their names in metrics.json and in
`memo compare --statistic`."""
