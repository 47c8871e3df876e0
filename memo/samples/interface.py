"""The interface of a test on samples.

A test may say two things. Of each record, a value that should tell how much of it is memorized: it
is taken from the full model's samples, and judged against the memorization scores. Of all samples
together, one number or a few: they are taken from samples of fold models, once with records that
the model was trained on in the place of training data, and once with records that were held out of
it. The second is the null: a sampler that does not look at its training data gives both the same
distribution, since chance decided what was held out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.samples.compared import Compared

Columns: TypeAlias = Mapping[str, NDArray[np.generic] | pl.Series]
"""A value of each record in each column, (n,)."""


@dataclass(frozen=True)
class Number:
    """One number that a test finds of a set of samples as a whole."""

    words: str
    """Title on pages."""
    sign: int
    """1 where more of it means more memorization, -1 where less does."""


@dataclass(frozen=True)
class RecordValues:
    """Values that a test gives to single records."""

    statistic: str
    """Column whose relation to memorization is reported; null stands for infinity."""
    sign: int
    """1 where more of it means more memorization, -1 where less does."""
    columns: Mapping[str, pl.DataType]
    """Columns of its table with their types, without `index`."""
    find: Callable[[Compared, np.random.Generator], Columns]
    """From what is compared, and a stream for random choices, to the columns, a row for each of
    `Compared.records`."""
    nullable: frozenset[str] = frozenset()
    """Columns that may be null."""

    @property
    def by_repeat(self) -> str:
        """Column of the ranks that the statistic has in single repeats of the design."""
        return f"{self.statistic}_by_repeat"


@dataclass(frozen=True)
class SampleTest:
    """A test on samples alone."""

    name: str
    """Name in specs, metrics and files."""
    words: str
    """Title of its results on pages."""
    claim: str
    """One sentence for pages: what it looks at, what it is said to see, and who says so."""
    records: RecordValues | None = None
    """None of a test that judges samples as a whole alone."""
    numbers: Mapping[str, Number] = field(default_factory=dict)
    """By their names in metrics and files."""
    judge: Callable[[Compared, np.random.Generator], Mapping[str, float]] | None = None
    """From what is compared, and a stream for random choices, to each of `numbers`; NaN where one
    is not defined. None of a test without numbers."""
    needs_held_out: bool = False
    """True where the numbers are found with records, beside those in the place of training data,
    that the model was not trained on (`Compared.held_out`)."""
