"""Samples, records and held-out records in one space, and who is nearest to whom, found once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from memo.samples.nearest import FloatArray, IndexArray, Nearest, few_nearest, nearest

PART = 16384
"""Records whose rows are held at a time."""


@dataclass(frozen=True)
class Observations:
    """Some observations of a data set, in the space that distances are measured in."""

    index: IndexArray
    """Their indices in the data set, (n,)."""
    rows: Callable[[IndexArray], Tensor]
    """From indices of observations (m,) to their rows of the space, (m, features), on the CPU."""

    def __len__(self) -> int:
        """Number of observations."""
        return len(self.index)

    @property
    def all_rows(self) -> Tensor:
        """All rows at once, (n, features)."""
        return self.rows(self.index)

    def parts(self) -> Iterator[tuple[int, Tensor]]:
        """Rows of `PART` observations at a time, and the place of their first."""
        for start in range(0, len(self.index), PART):
            yield start, self.rows(self.index[start : start + PART])

    def mapped(self, function: Callable[[Tensor], Tensor]) -> "Observations":
        """The same observations in another space, by a function of their rows."""
        return Observations(self.index, lambda index: function(self.rows(index)))


@dataclass(frozen=True, eq=False)
class Compared:
    """Samples, and the records that they are judged by.

    Example:
        >>> rows = torch.tensor([[0.0], [10.0], [20.0]])
        >>> records = Observations(np.arange(3), lambda index: rows[torch.from_numpy(index)])
        >>> found = Compared(torch.tensor([[1.0], [14.0]]), records)
        >>> found.sample_to_records.index[:, 0], found.record_to_record
        (array([0, 1]), array([10., 10., 10.]))
    """

    samples: Tensor
    """Rows of the space, (m, features), on the CPU."""
    records: Observations
    """Records in the place of training data, n of them."""
    held_out: Observations | None = None
    """Real data that the model was not trained on, in neither place; None where there is none."""
    device: torch.device | str | None = None
    """Where distances are screened."""

    @property
    def others(self) -> Observations:
        """The held-out records, of a test that needs them.

        Raises:
            ValueError: There are none.
        """
        if self.held_out is None:
            raise ValueError("there are no held-out records")
        return self.held_out

    @cached_property
    def sample_to_records(self) -> Nearest:
        """Places of the two nearest records of each sample, (m, 2)."""
        return few_nearest_records(self.samples, self.records, 2, self.device)

    @cached_property
    def record_to_sample(self) -> Nearest:
        """The nearest sample of each record, (n,)."""
        return to_references(self.records, self.samples, self.device)

    @cached_property
    def record_to_record(self) -> FloatArray:
        """Distance of each record to the nearest other one, (n,)."""
        return to_kth_other(self.records, 1, self.device)

    @cached_property
    def sample_to_sample(self) -> FloatArray:
        """Distance of each sample to the nearest other one, (m,)."""
        return few_nearest(self.samples, self.samples, 2, self.device).distance[:, 1]

    @cached_property
    def sample_to_held_out(self) -> FloatArray:
        """Distance of each sample to the nearest held-out record, (m,)."""
        return few_nearest_records(self.samples, self.others, 1, self.device).distance[:, 0]


def few_nearest_records(
    queries: Tensor, records: Observations, count: int, device: torch.device | str | None = None
) -> Nearest:
    """Places of the `count` nearest records of each query, part by part of the records.

    Raises:
        ValueError: There are fewer records.
    """
    if len(records) < count:
        raise ValueError(f"there are no {count} nearest records among {len(records)}")
    index, distance = np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0))
    for start, rows in records.parts():
        found = few_nearest(queries, rows, min(count, len(rows)), device)
        index = np.concatenate([index, found.index + start], 1)
        distance = np.concatenate([distance, found.distance], 1)
        order = distance.argsort(1, kind="stable")[:, :count]
        index = np.take_along_axis(index, order, 1)
        distance = np.take_along_axis(distance, order, 1)
    return Nearest(index, distance)


def to_references(
    records: Observations, references: Tensor, device: torch.device | str | None = None
) -> Nearest:
    """The nearest reference of each record, (n,)."""
    found = [nearest(rows, references, device) for _, rows in records.parts()]
    return Nearest(
        np.concatenate([part.index for part in found]),
        np.concatenate([part.distance for part in found]),
    )


def to_kth_other(
    records: Observations, k: int, device: torch.device | str | None = None
) -> FloatArray:
    """Distance of each record to the k-th nearest of the others, (n,).

    Each is at distance zero of itself, which is the first of its k + 1 nearest, or as near.
    """
    return np.concatenate(
        [
            few_nearest_records(rows, records, k + 1, device).distance[:, k]
            for _, rows in records.parts()
        ]
    )


def ratio_of(first: FloatArray, second: FloatArray) -> FloatArray:
    """One distance over another; 1 where both are zero, as between copies; else infinite over 0."""
    ratio = np.ones_like(first)
    with np.errstate(divide="ignore"):
        np.divide(first, second, out=ratio, where=first != second)
    return ratio
