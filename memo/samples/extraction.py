"""Extraction: training records that come out as samples, and how many would by chance.

A sample replicates a record where it is nearer to it than a third of its distance to the second
nearest record (Yoon et al. 2023, section 4; Gu et al. 2023, equation 2): it is that record again,
and not something between records. A record is replicated where any sample replicates it.

The same may happen to records that a model has never seen, as where the data fill their space
thinly. That is the null: fold models are sampled from too, and what each replicates of the records
that were held out of it is counted by the same rule, among the same records and with as many
samples as what it replicates of those that it was trained on. A sampler that does not look at its
training data replicates as large a share of either, since chance decided what was held out.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from memo.samples.compared import Observations, few_nearest_records, ratio_of, to_references
from memo.samples.nearest import FloatArray, IndexArray, Nearest
from memo.scores.intervals import LEVEL, t_interval
from memo.scores.summaries import Estimate
from memo.spec.sample_specs import DistanceReplicaSpec, ReplicaSpec

COLUMNS: dict[str, pl.DataType] = {
    "replica_sample": pl.Int64(),
    "replica_distance": pl.Float64(),
    "replica_ratio": pl.Float64(),
    "replica": pl.Boolean(),
    "replicated_by": pl.List(pl.Int64()),
}
"""Columns of `extraction`'s table, without `index`."""

NULLABLE = frozenset({"replica_ratio"})

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Counted:
    """Records that were replicated, of those that could be, over several models."""

    count: int
    of: int
    rate: Estimate


@dataclass(frozen=True)
class Replication:
    """Replicas of records in and out of training of the same models, with as many samples."""

    models: int
    inside: Counted
    outside: Counted
    difference: Estimate
    """Share of records in training that are replicated, less that of records held out."""


def extraction(
    samples: Tensor,
    records: Observations,
    of_folds: Iterable[Tensor],
    rule: ReplicaSpec,
    device: torch.device | str | None = None,
    advance: Callable[[int], object] = lambda done: None,
) -> pl.DataFrame:
    """Find the sample that comes nearest to replicating each record, and the models that do.

    Args:
        samples: Rows of the space, (m, features), of the released model.
        records: All records of the data set; n, at least two.
        of_folds: The same of each fold model.
        rule: Of what is a replica.
        device: Where distances are screened.
        advance: Told how many records are done, once for each set of samples.

    Returns:
        `index`, then `replica_sample` (a row of `samples`: the one of the
        smallest ratio, or by a rule of distance the nearest),
        `replica_distance` (its distance to the record), `replica_ratio` (that over its distance to
        the nearest other record; null for infinity), `replica` (whether the record is replicated
        by `samples`), `replicated_by` (numbers of the fold models whose samples replicate it).

    Raises:
        ValueError: There are no samples, or fewer than two records.

    Example:
        The first sample is the first record again, the second lies between the others.

        >>> from memo.spec.sample_specs import RatioReplicaSpec
        >>> rows = torch.tensor([[0.0], [10.0], [20.0]])
        >>> records = Observations(np.arange(3), lambda index: rows[torch.from_numpy(index)])
        >>> found = extraction(torch.tensor([[0.5], [14.0]]), records, [], RatioReplicaSpec())
        >>> found["replica"].to_list(), found["replica_sample"].to_list()
        ([True, False, False], [0, 1, 1])
    """
    two = _two_nearest_records(samples, records, device)
    to_sample = to_references(records, samples, device)
    advance(len(records.index))
    by: list[list[int]] = [[] for _ in records.index]
    for number, drawn in enumerate(of_folds):
        for place in _replicated(drawn, records, rule, device).nonzero()[0]:
            by[place].append(number)
        advance(len(records.index))
    if isinstance(rule, DistanceReplicaSpec):
        sample, distance, ratio = of_nearest_samples(two, to_sample)
        found = distance < rule.below
    else:
        sample, distance, ratio = of_smallest_ratios(two, to_sample)
        found = ratio < rule.below
    return pl.DataFrame(
        {
            "index": records.index,
            "replica_sample": sample,
            "replica_distance": distance,
            "replica_ratio": pl.Series(ratio).replace(np.inf, None),
            "replica": found,
            "replicated_by": pl.Series(by, dtype=pl.List(pl.Int64)),
        }
    )


def replication(
    replicated_by: pl.Series, members: Sequence[IndexArray], held_out: Sequence[IndexArray]
) -> Replication | None:
    """Compare what fold models replicate of records in and out of their training.

    Every interval is the wider of two. Clopper & Pearson's takes each pair of a record and a model
    for a trial of its own, which holds where replicas are few, none included; for the difference
    both rates' intervals are put together as Newcombe (1998, method 10) does. Student's, over fold
    models, sees that some of them replicate more than others. Simulations in
    `benchmarks/README.md`.

    Args:
        replicated_by: Of each record, in the order of indices: numbers of the fold models whose
            samples replicate it.
        members: Indices of what each fold model was trained on.
        held_out: Indices of what was held out of it.

    Returns:
        None where there are no fold models.

    Example:
        Two models replicate all four records that each was trained on, and no other.

        >>> first, second = np.arange(4), np.arange(4, 8)
        >>> by = pl.Series([[0]] * 4 + [[1]] * 4)
        >>> found = replication(by, [first, second], [second, first])
        >>> found.inside.count, found.outside.count, found.difference.value
        (8, 0, 1.0)
    """
    if not members:
        return None
    marks = np.zeros((len(members), len(replicated_by)), bool)
    for record, models in enumerate(replicated_by.to_list()):
        marks[models, record] = True
    inside, outside = (
        np.array([(row[part].sum(), len(part)) for row, part in zip(marks, parts, strict=True)])
        for parts in (members, held_out)
    )
    rates = [part[:, 0] / part[:, 1] for part in (inside, outside)]
    within, without = (_counted(*part.T) for part in (inside, outside))
    return Replication(len(members), within, without, _difference(within, without, *rates))


def clopper_pearson(count: int, of: int) -> tuple[float, float]:
    """Exact 95% interval of a share (Clopper & Pearson 1934).

    Example:
        >>> low, high = clopper_pearson(0, 100)
        >>> low, round(high, 4)
        (0.0, 0.0362)
    """
    found = scipy.stats.binomtest(count, of).proportion_ci(LEVEL, method="exact")
    return float(found.low), float(found.high)


def _counted(counts: IndexArray, of: IndexArray) -> Counted:
    count, total = int(counts.sum()), int(of.sum())
    rate = count / total
    error, spread = _over_models(counts / of, rate)
    exact = clopper_pearson(count, total)
    return Counted(count, total, _widest(rate, error, exact, spread))


def _difference(
    inside: Counted, outside: Counted, of_inside: FloatArray, of_outside: FloatArray
) -> Estimate:
    first, second = (part.count / part.of for part in (inside, outside))
    value = first - second
    (low1, high1), (low2, high2) = (clopper_pearson(s.count, s.of) for s in (inside, outside))
    exact = (
        value - float(np.hypot(first - low1, high2 - second)),
        value + float(np.hypot(high1 - first, second - low2)),
    )
    error, spread = _over_models(of_inside - of_outside, value)
    return _widest(value, error, exact, spread)


def _over_models(values: FloatArray, value: float) -> tuple[float | None, tuple[float, float]]:
    """Standard error and interval over fold models; of a single one, none, and the number alone."""
    if len(values) < 2:
        return None, (value, value)
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return error, t_interval(value, error, len(values) - 1)


def _widest(value: float, std_error: float | None, *intervals: tuple[float, float]) -> Estimate:
    lows, highs = zip(*intervals, strict=True)
    return Estimate(value, std_error, min(lows), max(highs))


def _replicated(
    samples: Tensor, records: Observations, rule: ReplicaSpec, device: torch.device | str | None
) -> Mask:
    """Marks of the records that are replicated, (n,)."""
    if isinstance(rule, DistanceReplicaSpec):
        return np.asarray(to_references(records, samples, device).distance < rule.below)
    two = _two_nearest_records(samples, records, device)
    found = np.zeros(len(records.index), bool)
    found[two.index[ratio_of(*two.distance.T) < rule.below, 0]] = True
    return found


def _two_nearest_records(
    samples: Tensor, records: Observations, device: torch.device | str | None
) -> Nearest:
    """Places of the two nearest records of each sample, part by part of the records."""
    if len(records.index) < 2:
        raise ValueError("a sample has no second nearest record among fewer than two")
    return few_nearest_records(samples, records, 2, device)


def of_nearest_samples(
    two: Nearest, to_sample: Nearest
) -> tuple[IndexArray, FloatArray, FloatArray]:
    """The nearest sample of each record, its distance, and that over its distance to any other.

    Args:
        two: Places of the two nearest records of each sample, (m, 2).
        to_sample: The nearest sample of each record, (n,).
    """
    sample, distance = to_sample.index.copy(), to_sample.distance.copy()
    own = two.index[sample, 0] == np.arange(len(sample))
    other = np.where(own, two.distance[sample, 1], two.distance[sample, 0])
    return sample, distance, ratio_of(distance, other)


def of_smallest_ratios(
    two: Nearest, to_sample: Nearest
) -> tuple[IndexArray, FloatArray, FloatArray]:
    """As `of_nearest_samples`, of the sample of the smallest ratio, not always the nearest.

    A sample has a ratio below 1 to its nearest record alone.
    """
    sample, distance, ratio = of_nearest_samples(two, to_sample)
    of_sample = ratio_of(*two.distance.T)
    for row in np.argsort(of_sample, kind="stable")[::-1]:
        record = two.index[row, 0]
        if of_sample[row] <= ratio[record]:
            sample[record], distance[record] = row, two.distance[row, 0]
            ratio[record] = of_sample[row]
    return sample, distance, ratio
