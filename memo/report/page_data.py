"""The contents of pages: tables, arrays and sentences."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.attacks.membership import Attacked
from memo.datasets.pictures import Pictures
from memo.report.audit.replica_data import ReplicaData
from memo.report.sampled.sample_test_data import SampleTestData
from memo.scores.relation import Relation
from memo.scores.table import THRESHOLD


@dataclass(frozen=True)
class Headline:
    """One number with its error and its meaning in plain language."""

    name: str
    value: float
    std_error: float | None
    unit: str
    """Follows the number: `nats`, `%`; empty for a pure number."""
    meaning: str
    low: float | None = None
    high: float | None = None
    """Ends of its 95% interval; None where there is none."""


@dataclass(frozen=True)
class Overfitted:
    """The density that the same training makes of few observations."""

    count: int
    """Number of these observations, which are `Illustration.points` from the second on."""
    log_p: NDArray[np.float64]
    """At the places of `Illustration.log_p_with`."""


@dataclass(frozen=True)
class Illustration:
    """Densities in one or two dimensions, with and without one observation; log p in nats."""

    axes: list[NDArray[np.float64]]
    """Places of the grid's lines on each axis, evenly spaced."""
    points: NDArray[np.float64]
    """(shown, axes): the observation, then others."""
    name: str
    """The observation's id."""
    log_p_with: NDArray[np.float64]
    """Trained with it: at the grid's places, the last axis running fastest, then at the points."""
    log_p_without: NDArray[np.float64]
    models: int
    """Number of models that each of the two is the mean density of."""
    overfitted: Overfitted | str
    """The overfitted density, or why there is none."""
    estimated: bool = False
    """True where log p is an estimate, whose errors make densities jagged."""
    titles: list[str] | None = None
    """Names of the axes; None where they have none."""


@dataclass(frozen=True)
class NeighborData:
    """Distances of each observation to samples and to held-out observations, and memorization.

    rho is the held-out over the sample distance.
    """

    space: str
    """Space of the distances, in words that follow "distance in"."""
    source: str
    """Origin of the samples, in words that follow "samples of"."""
    count: int
    """Number of samples, and of held-out observations of each observation."""
    table: pl.DataFrame
    """`index`, `distance_sample`, `distance_held_out`, `ratio` (null where infinite),
    `nearest_sample` (a row of `samples`), `nearest_held_out` (an `index`)."""
    relation: Relation
    """Statistics of rho and memorization."""
    samples: NDArray[np.uint8] | None = None
    """Samples for display, as `Pictures.given`; None where they are not images."""


@dataclass(frozen=True)
class RecordData:
    """A table's records, as people read them and as the model sees them."""

    values: pl.DataFrame
    """Row `index`: numbers in their own units, names of categories."""
    vectors: NDArray[np.float32]
    """(n, entries): the records as the model sees them, which distances are between."""
    blocks: list[slice]
    """Entries of a vector that belong to each column of `values`."""
    samples: pl.DataFrame | None = None
    """Samples of the model, as `values`; None where samples were not compared."""
    nearest_sample: list[tuple[int, float]] = field(default_factory=list)
    """The row of the nearest sample of each record, and its distance."""
    names: list[str] = field(default_factory=list)
    """Ids of all records, also of those that have no score."""


@dataclass(frozen=True)
class GroupData:
    """Groups whose members were held out together."""

    table: pl.DataFrame
    """Their scores, as `memo.scores.groups.GROUP_SCORES`, the most memorized first."""
    what: str
    """Kind of the groups, in the plural."""


@dataclass(frozen=True)
class TwinData:
    """Influence between near records."""

    table: pl.DataFrame
    """Pairs of an observation and one near it, as `memo.attacks.influence.INFLUENCE`."""
    words: str
    """A sentence on what the design can tell of them."""


@dataclass(frozen=True)
class ReportData:
    """One experiment."""

    experiment: str
    title: str
    facts: dict[str, str]
    """Data set, model, training and design, in words."""
    headlines: list[Headline]
    intervals: str
    """Sentences that say what intervals are of, or why there are none."""
    warnings: list[str]
    """Reasons not to trust the page."""
    scores: pl.DataFrame
    """`index`, `id`, `label`, `epoch`, `log_p_in`, `log_p_out`, `memorization`, `std_error`,
    `low`, `high`, `memorization_shrunk`, `above_threshold` and `unreliable_models`, as in
    `memo.scores.SCORES`; one row for each observation and scored epoch. Further columns are
    ignored."""
    quantiles: pl.DataFrame
    """`epoch`, `statistic` (of `memo.scores.STATISTICS`), `value`, `std_error`, `low` and `high`
    (these three may be null)."""
    losses: pl.DataFrame
    """`epoch`, `train`, `held_out` (may be null): means over fold models, nats an observation."""
    images: Pictures | None = None
    """Observations for display, in the order of `index`; None where they are not images."""
    records: RecordData | None = None
    """None where observations are not a table's records."""
    illustration: Illustration | None = None
    """None where observations are not one or two real numbers."""
    neighbors: NeighborData | str | None = None
    """A sentence where samples cannot be compared; None where they were not."""
    groups: GroupData | None = None
    """None where no groups were held out together."""
    twins: TwinData | None = None
    """None where the influence between records was not measured."""
    attacked: Attacked | None = None
    """Results of the attacks; None where there were none."""
    attacks_file: str = ""
    """Path of the file of all records' risks, for the reader; empty where there is none."""
    scores_file: str = ""
    """Path of the file of all scores, for the reader; empty where there is none."""
    dimensions: int | None = None
    """Numbers that an observation has (values, or columns); None where that is not known."""
    about_samples: str = ""
    """Sentences that say what rests on samples, where log p is estimated from them."""
    threshold: float = THRESHOLD
    """Score above which an observation counts as memorized, nats."""
    replicas: ReplicaData | str | None = None
    """A sentence where the model cannot be sampled from; None where samples were not compared."""
    sample_tests: SampleTestData | None = None
    """Findings of tests on samples; None where samples were not compared."""


@dataclass(frozen=True)
class ComparedExperiment:
    """One experiment among others."""

    name: str
    title: str
    headlines: list[Headline]
    scores: pl.DataFrame
    """Scores, as in `ReportData`; the last scored epoch is compared."""
    quantiles: pl.DataFrame
    """Quantiles of the scores, as in `ReportData`."""


@dataclass(frozen=True)
class Difference:
    """Difference of a second experiment from a first, over the observations that they share."""

    first: str
    second: str
    rows: list[Headline] = field(default_factory=list)
    """Second minus first."""
    rank_correlation: float | None = None
    """Spearman's, of the memorization scores; None or NaN where it is not defined."""
    problem: str | None = None
    """The reason why these two cannot be compared; then there are no rows."""


@dataclass(frozen=True)
class FrontierPoint:
    """One experiment's memorization, and its quality as a density."""

    name: str
    title: str
    memorization: Headline
    held_out: Headline
    undominated: bool
    """True where no other experiment is as good in both respects and better in one."""
    memorization_difference: Headline | None = None
    """From the baseline; None of the baseline itself."""
    held_out_difference: Headline | None = None
    verdict: str = ""
    seconds: float | None = None
    """Time of training one model; None where it was not measured."""
    epsilon: float | None = None
    """The guarantee of differentially private training."""


@dataclass(frozen=True)
class Mover:
    """An observation whose score, shrunk where it can be, another experiment changed."""

    index: int
    id: str
    label: str | None
    before: float
    after: float


@dataclass(frozen=True)
class Movers:
    """The observations whose scores changed most from the baseline to one experiment."""

    name: str
    lost: list[Mover]
    gained: list[Mover]
    shrunk: bool = False
    """True where scores are shrunk ones."""


@dataclass(frozen=True)
class Remainder:
    """Memorization of the rest, once the most memorized observations are left out."""

    name: str
    sentences: list[str]
    rows: list[Headline]
    """This experiment minus the same without the removal, over the observations that were left."""


@dataclass(frozen=True)
class Frontier:
    """The trade-off of several experiments on the same observations."""

    statistic: str
    """Name of a statistic of memorization, in words."""
    unit: str
    """Unit of the statistic; empty where it has none."""
    baseline: str
    points: list[FrontierPoint]
    movers: list[Movers] = field(default_factory=list)
    images: Pictures | None = None
    """The baseline's observations, as in `ReportData`."""


@dataclass(frozen=True)
class ComparisonData:
    """Several experiments, and how pairs of them differ."""

    experiments: list[ComparedExperiment]
    differences: list[Difference] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    frontier: Frontier | None = None
    remainders: list[Remainder] = field(default_factory=list)
    intervals: str = ""
    """Sentences on those that have no intervals; empty where all have."""
