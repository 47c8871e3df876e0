"""The interface of a test on samples: a function from samples and observations to a table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
from torch import Tensor

from memo.samples.nearest import IndexArray


@dataclass(frozen=True)
class Observations:
    """Some observations of a data set, in the space that distances are measured in."""

    index: IndexArray
    """Their indices in the data set, (n,)."""
    rows: Callable[[IndexArray], Tensor]
    """From indices of observations (m,) to their rows of the space, (m, features), on the CPU."""


class Run(Protocol):
    """The function of a test on samples."""

    def __call__(
        self,
        samples: Tensor,
        training: Observations,
        held_out: Observations | None,
        stream: np.random.Generator,
        advance: Callable[[int], object],
    ) -> pl.DataFrame:
        """Judge samples by the observations that their model was trained on, and by others.

        Args:
            samples: Rows of the space, (m, features), on the CPU.
            training: What the model was trained on.
            held_out: What was withheld from it; None where it was trained on everything.
            stream: For random choices.
            advance: Told how many observations are done.

        Returns:
            `index` of each training observation, in order, then the test's own columns.
        """
        ...


@dataclass(frozen=True)
class SampleTest:
    """A test on samples alone."""

    name: str
    """Name in metrics and files."""
    words: str
    """Title of its results on pages."""
    statistic: str
    """Column whose relation to memorization is reported; null stands for infinity."""
    columns: Mapping[str, pl.DataType]
    """Columns of its table with their types, without `index`."""
    nullable: frozenset[str]
    """Columns that may be null."""
    run: Run
