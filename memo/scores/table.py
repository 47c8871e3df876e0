"""The table of scores, one row for each observation and scored epoch."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from memo.errors import InputError
from memo.scores.aggregate import Aggregate, FloatArray
from memo.scores.intervals import score_intervals

SCORES: dict[str, pl.DataType] = {
    "index": pl.Int64(),
    "id": pl.String(),
    "label": pl.String(),
    "group": pl.String(),
    "epoch": pl.Int64(),
    "log_p_in": pl.Float64(),
    "log_p_out": pl.Float64(),
    "memorization": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "std_error": pl.Float64(),
    "estimator_std_error": pl.Float64(),
    "memorization_shrunk": pl.Float64(),
    "shrunk_low": pl.Float64(),
    "shrunk_high": pl.Float64(),
    "above_threshold": pl.Float64(),
    "memorization_at_n": pl.Float64(),
    "memorization_paper": pl.Float64(),
    "unreliable_models": pl.Int64(),
    "mean_log_likelihood_in": pl.Float64(),
    "mean_log_likelihood_out": pl.Float64(),
    "memorization_without_repeat": pl.List(pl.Float64()),
}
"""Columns of the table; all but the keys and counts are in nats.

`group` names the group of the data set that the observation belongs to, or the set of
near-duplicates with which it was held out; null where there is neither.

`low` and `high` are the ends of a 95% interval of the score, `std_error` its standard error: null
where one block gives no jackknife, `std_error` 0 where scores are exact. `memorization_shrunk` is
what the score is expected to be, given the scores of all observations, with its own 95% interval;
`above_threshold` is the probability that the true score is above `scoring.threshold`.
`memorization_at_n` is the score extrapolated from the design's training sets to those of all
observations (`memo.scores.extrapolation`); null where that was not asked for, or is off.
`memorization_paper` is the score by the method `paper`.
`unreliable_models` counts the models under which the observation's log p(x) is marked unreliable:
above 0, trust the score less. `mean_log_likelihood_in` and `_out` are means of log p over models
with and without the observation, which overfitting is read from. `memorization_without_repeat`
holds the score recomputed without each jackknife block, so that the jackknife of any statistic of
the scores can be taken from it.
"""

ESTIMATES = (
    "log_p_in",
    "log_p_out",
    "memorization",
    "std_error",
    "estimator_std_error",
    "memorization_paper",
    "mean_log_likelihood_in",
    "mean_log_likelihood_out",
)
"""Columns that an `Aggregate` has under the same names."""

SHRUNK = ("memorization_shrunk", "shrunk_low", "shrunk_high", "above_threshold")
"""Columns that `with_true_scores` fills; null before, and where there are no standard errors."""

AT_N = "memorization_at_n"
"""Column of extrapolated scores; null until they are."""

THRESHOLD = 1.0
"""Score, in nats, above which an observation counts as memorized, where a spec names none."""

STATISTICS_FACT = "statistics"
"""The fact that holds the statistics of all observations' scores at each epoch, as JSON."""

TOGETHER_FACT = "together"
"""The fact that names what was held out together, `groups` or `near-duplicates`, if anything."""

SHOWN = (
    "index",
    "id",
    "label",
    "memorization",
    "low",
    "high",
    "memorization_shrunk",
    "above_threshold",
    "log_p_in",
    "log_p_out",
    "unreliable_models",
)
"""Columns of a list of observations for people."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Memorization scores of an experiment: a table with the columns of `SCORES`, and facts.

    Example:
        >>> columns = {"index": [0, 1, 0, 1], "epoch": [1, 1, 2, 2], "memorization": [0, 1, 5, 3]}
        >>> scores = Scores(pl.DataFrame(columns))
        >>> scores.last_epoch, scores.last.memorization.tolist(), scores.ranked["index"].to_list()
        (2, [5, 3], [0, 1])
    """

    table: pl.DataFrame
    facts: dict[str, str] = field(default_factory=dict)
    """Hashes of the data and of the partitions, and what mitigations promise or cost."""

    @classmethod
    def from_aggregate(
        cls,
        observations: pl.DataFrame,
        epoch: int,
        aggregate: Aggregate,
        unreliable: NDArray[np.int64],
    ) -> "Scores":
        """Scores at one epoch; null where an observation has too few models.

        Args:
            observations: Columns `index`, `id` and `label`; `group`, if there are any.
            epoch: The epoch at which the models were scored.
            aggregate: The scores of these observations, in their order.
            unreliable: (n,), under how many models each one's log-likelihood is unreliable.
        """
        without = [row.tolist() for row in aggregate.without_block.T]
        low, high = np.full((2, len(aggregate.memorization)), np.nan)
        if aggregate.method == "mean-log":
            low, high = score_intervals(
                aggregate.memorization, aggregate.std_error, len(aggregate.without_block)
            )
        if "group" not in observations.columns:
            observations = observations.with_columns(group=pl.lit(None, pl.String))
        table = observations.with_columns(
            pl.lit(epoch, pl.Int64).alias("epoch"),
            *(pl.Series(name, getattr(aggregate, name), nan_to_null=True) for name in ESTIMATES),
            low=pl.Series(low, nan_to_null=True),
            high=pl.Series(high, nan_to_null=True),
            **dict.fromkeys([*SHRUNK, AT_N], pl.lit(None, pl.Float64)),
            unreliable_models=unreliable,
            memorization_without_repeat=pl.Series(without, dtype=pl.List(pl.Float64)),
        )
        return cls(table.select(*SCORES), {"aggregate": aggregate.method})

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.table)

    @cached_property
    def epochs(self) -> list[int]:
        """The scored epochs, ascending."""
        return self.table["epoch"].unique().sort().to_list()

    @property
    def last_epoch(self) -> int:
        """The last scored epoch."""
        return self.epochs[-1]

    def at(self, epoch: int | None = None) -> "Scores":
        """Scores at one epoch, the last one scored for None.

        Raises:
            InputError: The epoch was not scored.
        """
        return self._rows(self.table.filter(pl.col("epoch") == scored_epoch(self.epochs, epoch)))

    @cached_property
    def last(self) -> "Scores":
        """Scores at the last scored epoch."""
        return self.at()

    def among(self, index: ArrayLike) -> "Scores":
        """Scores of the observations that have these indices."""
        chosen = self.table.filter(pl.col("index").is_in(np.asarray(index).tolist()))
        if len(chosen) == len(self):
            return self
        facts = {name: fact for name, fact in self.facts.items() if name != STATISTICS_FACT}
        return Scores(chosen, facts)

    @cached_property
    def ranked(self) -> pl.DataFrame:
        """The last epoch's rows, the most memorized first by `ranking`; of equal ones by index."""
        return self.last.table.sort(self.last.ranking, "index", descending=[True, False])

    def most_memorized(self, count: int, label: str | None = None) -> pl.DataFrame:
        """The highest scores by `ranking` at the last epoch, of all observations or of one label.

        Returns:
            At most `count` rows with the columns of `SHOWN`.

        Raises:
            InputError: No observation has the label.
        """
        if label is None:
            return self.ranked.select(SHOWN).head(min(count, len(self)))
        chosen = self.ranked.filter(pl.col("label") == label)
        if chosen.is_empty():
            labels = self.table["label"].drop_nulls().unique().sort().head(20).to_list()
            known = f"labels are {', '.join(labels)}" if labels else "none has a label"
            raise InputError(f"no observation has the label {label!r}; {known}")
        return chosen.select(SHOWN).head(min(count, len(self)))

    def column(self, name: str) -> FloatArray:
        """A column of numbers, (rows,), NaN where it is null."""
        return self.table[name].to_numpy()

    @property
    def index(self) -> NDArray[np.int64]:
        """Index of the observation of each row, (rows,)."""
        return self.table["index"].to_numpy()

    @property
    def memorization(self) -> FloatArray:
        """Memorization of each row, (rows,) nats."""
        return self.column("memorization")

    @cached_property
    def without_block(self) -> FloatArray:
        """Memorization recomputed without each jackknife block, (blocks, rows).

        NaN for observations that no jackknife can be taken of; (0, rows) where there is one block.
        """
        replicates = self.table["memorization_without_repeat"]
        values = replicates.explode(empty_as_null=False).to_numpy()
        return values.reshape(len(self), self.blocks).T

    @property
    def blocks(self) -> int:
        """Number of jackknife blocks; 0 where there was one, or none was needed."""
        lengths = self.table["memorization_without_repeat"].list.len()
        return int(lengths[0]) if len(lengths) else 0

    @property
    def aggregate(self) -> str:
        """The aggregation of log densities into scores: `mean-log` or `paper`."""
        return self.facts.get("aggregate", "mean-log")

    @property
    def by_mean_logs(self) -> bool:
        """True where scores are differences of mean logs, whose intervals hold."""
        return self.aggregate == "mean-log"

    @property
    def ranking(self) -> str:
        """Column that says who is memorized most: the shrunk scores where all rows have one.

        The largest of noisy scores are too large, those of the noisiest observations most of all.
        """
        shrunk = "memorization_shrunk"
        there = shrunk in self.table.columns and not self.table[shrunk].null_count()
        return shrunk if there else "memorization"

    @property
    def threshold(self) -> float:
        """Score above which an observation counts as memorized, nats."""
        return float(self.facts.get("threshold", THRESHOLD))

    @property
    def exact(self) -> bool:
        """True where every score is known without error."""
        return bool((self.table["std_error"].fill_null(np.inf) == 0).all())

    def _rows(self, table: pl.DataFrame) -> "Scores":
        return Scores(table, self.facts)


def scored_epoch(scored: Iterable[int], epoch: int | None) -> int:
    """One of the scored epochs: the one asked for, or the last for None.

    Raises:
        InputError: The epoch was not scored.
    """
    known = sorted(scored)
    if epoch is not None and epoch not in known:
        words = ", ".join(map(str, known))
        raise InputError(f"epoch {epoch} was not scored; scored are {words}")
    return epoch if epoch is not None else known[-1]
