"""What a page is made of: plain tables, arrays and sentences."""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = [
    "ComparedExperiment",
    "ComparisonData",
    "Difference",
    "Frontier",
    "FrontierPoint",
    "Headline",
    "Illustration",
    "Interval",
    "Mover",
    "Movers",
    "NeighborData",
    "Overfitted",
    "RecordData",
    "Remainder",
    "ReportData",
]


@dataclass(frozen=True)
class Headline:
    """One number with its error and its meaning in plain language."""

    name: str
    value: float
    std_error: float | None
    unit: str
    """Follows the number: `nats`, `%`; empty for a pure number."""
    meaning: str


@dataclass(frozen=True)
class Overfitted:
    """The density that the same training makes of few observations."""

    count: int
    """How many: `Illustration.points` from the second on."""
    log_p: NDArray[np.float64]
    """As `Illustration.log_p_with`."""


@dataclass(frozen=True)
class Illustration:
    """Densities in one or two dimensions, with and without one observation; log p in nats."""

    axes: list[NDArray[np.float64]]
    """Where the grid's lines lie on each axis, evenly spaced."""
    points: NDArray[np.float64]
    """(shown, axes): the observation, then others."""
    name: str
    """The observation's id."""
    log_p_with: NDArray[np.float64]
    """Trained with it: at the grid's places, the last axis running fastest, then at the points."""
    log_p_without: NDArray[np.float64]
    models: int
    """How many models each of the two is the mean density of."""
    overfitted: Overfitted | str
    """Or why there is none."""
    estimated: bool = False
    """Whether log p is an estimate, whose errors make densities jagged."""
    titles: list[str] | None = None
    """Of the axes; None where they have no names."""


Interval: TypeAlias = tuple[float, float | None, float | None]
"""A number and the ends of its 95% confidence interval, None where they are not known."""


@dataclass(frozen=True)
class NeighborData:
    """How near samples and held-out observations come to each observation, and its memorization.

    rho is the held-out over the sample distance.
    """

    space: str
    """That distances are in, as in "distance in ..."."""
    source: str
    """Of the samples, as in "samples of ..."."""
    count: int
    """Samples, and held-out observations of each observation."""
    table: pl.DataFrame
    """`index`, `distance_sample`, `distance_held_out`, `ratio` (null where infinite),
    `nearest_sample` (a row of `samples`), `nearest_held_out` (an `index`)."""
    bins: pl.DataFrame
    """Mean rho in bins of memorization: `start`, `end`, `middle`, `count`, `value`, `low`, `high`
    (the last two may be null)."""
    rank_correlation: Interval | None
    """Of rho and memorization; None where it is not defined."""
    regular: Interval | None
    """Mean rho."""
    highly: Interval | None
    """Mean rho of the highly memorized."""
    difference: Interval | None
    """Of the highly memorized less the others."""
    infinite: int
    """Observations that were sampled exactly."""
    samples: NDArray[np.uint8] | None = None
    """For display, as `ReportData.images`."""


@dataclass(frozen=True)
class RecordData:
    """A table's records, as people read them and as the model sees them."""

    values: pl.DataFrame
    """Row `index`: numbers in their own units, names of categories."""
    vectors: NDArray[np.float32]
    """(n, entries): the same, as distances are taken between them."""
    blocks: list[slice]
    """Where each column of `values` lies in a vector."""
    samples: pl.DataFrame | None = None
    """What the model drew, as `values`; None where samples were not compared."""
    nearest_sample: list[tuple[int, float]] = field(default_factory=list)
    """For each record, which of the samples, and how far."""


@dataclass(frozen=True)
class ReportData:
    """One experiment."""

    experiment: str
    title: str
    facts: dict[str, str]
    """What was measured, in words: data set, model, training, design."""
    headlines: list[Headline]
    warnings: list[str]
    """When not to trust what is shown."""
    scores: pl.DataFrame
    """`index`, `id`, `label`, `epoch`, `log_p_in`, `log_p_out`, `memorization`, `std_error`,
    `unreliable_models` (how many models' log p not to trust); one row for each observation and
    scored epoch. Further columns are ignored."""
    quantiles: pl.DataFrame
    """`epoch`, `statistic` (mean, q50, q95, q99.9, max), `value`, `std_error` (may be null)."""
    losses: pl.DataFrame
    """`epoch`, `train`, `held_out` (may be null): means over fold models, nats an observation."""
    images: NDArray[np.uint8] | None = None
    """For display, (n, H, W) or (n, H, W, channels), row `index`; None if not images."""
    records: RecordData | None = None
    """None if observations are not a table's records."""
    illustration: Illustration | None = None
    """None where observations are not one or two real numbers."""
    neighbors: NeighborData | str | None = None
    """None where samples were not compared; or why they cannot be."""
    scores_file: str = ""
    """Where all scores lie, as the reader would look for it; empty when nowhere."""


@dataclass(frozen=True)
class ComparedExperiment:
    """One experiment among others."""

    name: str
    title: str
    headlines: list[Headline]
    scores: pl.DataFrame
    """As in `ReportData`; the last scored epoch is compared."""
    quantiles: pl.DataFrame
    """As in `ReportData`."""


@dataclass(frozen=True)
class Difference:
    """How the second experiment differs from the first, over the observations they share."""

    first: str
    second: str
    rows: list[Headline] = field(default_factory=list)
    """Second minus first."""
    rank_correlation: float | None = None
    """Spearman's, of the memorization scores; None or NaN where it is not defined."""
    problem: str | None = None
    """Why these two cannot be compared; then there are no rows."""


@dataclass(frozen=True)
class FrontierPoint:
    """What one experiment memorizes, and how good a density it is."""

    name: str
    title: str
    memorization: Headline
    held_out: Headline
    undominated: bool
    """No other memorizes as little and is as good a density, and one of them better."""
    memorization_difference: Headline | None = None
    """This one minus the baseline; None of the baseline, and where they cannot be compared."""
    held_out_difference: Headline | None = None
    verdict: str = ""
    seconds: float | None = None
    """Of training one model; None where it was not measured."""
    epsilon: float | None = None
    """Of differentially private training."""


@dataclass(frozen=True)
class Mover:
    """An observation whose score another experiment changed."""

    index: int
    id: str
    label: str | None
    before: float
    after: float


@dataclass(frozen=True)
class Movers:
    """Whose scores changed most from the baseline to one experiment."""

    name: str
    lost: list[Mover]
    gained: list[Mover]


@dataclass(frozen=True)
class Remainder:
    """What is memorized of the rest, once the most memorized observations are left out."""

    name: str
    sentences: list[str]
    rows: list[Headline]
    """This experiment minus the same without the removal, over the observations that were left."""


@dataclass(frozen=True)
class Frontier:
    """Several experiments on the same observations, by what they memorize and how good they are."""

    statistic: str
    """Of memorization, in words."""
    baseline: str
    points: list[FrontierPoint]
    movers: list[Movers] = field(default_factory=list)
    images: NDArray[np.uint8] | None = None
    """As in `ReportData`; of the observations that moved."""


@dataclass(frozen=True)
class ComparisonData:
    """Several experiments, and what pairs of them can say of each other."""

    experiments: list[ComparedExperiment]
    differences: list[Difference] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    frontier: Frontier | None = None
    remainders: list[Remainder] = field(default_factory=list)
