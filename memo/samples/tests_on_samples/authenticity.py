"""Samples that lie nearer to a training record than any other training record does.

Alaa, van Breugel, Saveliev & van der Schaar (2022, section 4.3) call a sample authentic unless it
is nearer to its nearest training record than that record's nearest neighbour among the others is.
"""

import numpy as np
import polars as pl

from memo.samples.compared import Compared, ratio_of
from memo.samples.interface import Columns, Number, RecordValues, SampleTest
from memo.samples.nearest import IndexArray


def of_records(compared: Compared, stream: np.random.Generator) -> Columns:
    """Compare each record's nearest sample with its nearest other record.

    Returns:
        `authenticity_ratio`, distance to the nearest other record over that to the nearest sample
        (null for infinity): above 1 where a sample is nearer than any other record.
        `unauthentic`: True where a sample that is not authentic has this record for its nearest.
    """
    ratio = ratio_of(compared.record_to_record, compared.record_to_sample.distance)
    unauthentic = np.zeros(len(ratio), bool)
    unauthentic[_copied(compared)] = True
    return {
        "authenticity_ratio": pl.Series(ratio).replace(np.inf, None),
        "unauthentic": unauthentic,
    }


def of_samples(compared: Compared, stream: np.random.Generator) -> dict[str, float]:
    """Share of samples that are authentic.

    Example:
        The first sample is nearer to 0 than 10 is; the second is as far from 20 as 10 is.

        >>> import torch
        >>> from memo.samples.compared import Observations
        >>> rows = torch.tensor([[0.0], [10.0], [20.0]])
        >>> records = Observations(np.arange(3), lambda index: rows[torch.from_numpy(index)])
        >>> found = Compared(torch.tensor([[1.0], [31.0]]), records)
        >>> of_samples(found, np.random.default_rng(0))
        {'authentic': 0.5}
    """
    return {"authentic": 1 - len(_copied(compared)) / len(compared.samples)}


def _copied(compared: Compared) -> IndexArray:
    """Place of the nearest record of each sample that is not authentic."""
    place, distance = compared.sample_to_records.index[:, 0], compared.sample_to_records.distance
    return np.asarray(place[distance[:, 0] <= compared.record_to_record[place]])


TEST = SampleTest(
    name="authenticity",
    words="Authenticity",
    claim="A sample is not authentic where it is as near to a training record as that record's "
    "nearest neighbour among the others: then it is said to be a noisy copy of it (Alaa et al. "
    "2022).",
    records=RecordValues(
        statistic="authenticity_ratio",
        sign=1,
        columns={"authenticity_ratio": pl.Float64(), "unauthentic": pl.Boolean()},
        nullable=frozenset({"authenticity_ratio"}),
        find=of_records,
    ),
    numbers={"authentic": Number("authentic samples", -1)},
    judge=of_samples,
)
