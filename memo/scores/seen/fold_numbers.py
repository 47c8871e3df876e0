"""Numbers that tests find of samples of fold models, with records in training and held out."""

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from memo.scores.aggregate import FloatArray
from memo.scores.summaries import Estimate, mean_estimate


class _Result(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Sides(_Result):
    """One number of each fold model, None where it is not defined."""

    inside: list[float | None]
    """With records in training."""
    outside: list[float | None]
    """With held-out records in their place."""

    @property
    def known(self) -> tuple[FloatArray, FloatArray]:
        """Both numbers of the models that have both, (models,) each."""
        pairs = zip(self.inside, self.outside, strict=True)
        both = [pair for pair in pairs if None not in pair]
        inside, outside = np.array(both, np.float64).reshape(-1, 2).T
        return inside, outside


class FoldNumbers(_Result):
    """Numbers of all tests on the samples of fold models."""

    missing: str | None
    """The reason why there are none; then there are none."""
    samples: int = 0
    """Samples of each model."""
    records: int = 0
    """Held-out records of each model, the fewest; half of them of tests that need the others."""
    numbers: dict[str, dict[str, Sides]] = {}
    """By the names of tests, and of their numbers."""


@dataclass(frozen=True)
class Judged:
    """One number over fold models; 95% intervals are Student's."""

    inside: Estimate
    outside: Estimate
    difference: Estimate
    """In training less held out."""
    models: int


def judged(sides: Sides) -> Judged | None:
    """Means over the fold models that have both numbers; None where there are none.

    Example:
        >>> found = judged(Sides(inside=[1.0, 0.5, None], outside=[0.5, 0.5, 0.5]))
        >>> found.difference.value, found.models
        (0.25, 2)
    """
    inside, outside = sides.known
    if not len(inside):
        return None
    return Judged(
        mean_estimate(inside), mean_estimate(outside), mean_estimate(inside - outside), len(inside)
    )
