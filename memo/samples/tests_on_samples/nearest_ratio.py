"""Nearest-neighbour distance ratio (NNDR): nearest over second nearest training record.

A sample that has a ratio near 0 lies at one record and far from all others; one between records
has a ratio near 1 (Lowe 2004; of synthetic tables Zhao, Kunar, Birke & Chen 2021, section 4.1.3,
who report the 5th percentile over samples).
"""

import numpy as np
import polars as pl

from memo.samples.compared import Compared, ratio_of
from memo.samples.extraction import of_smallest_ratios
from memo.samples.interface import Columns, Number, RecordValues, SampleTest

PERCENTILE = 5


def of_records(compared: Compared, stream: np.random.Generator) -> Columns:
    """The smallest ratio by which a sample is nearer to each record than to any other.

    Returns:
        `nearest_ratio`, null for infinity: above 1 where each sample is nearer to other records.
    """
    _, _, ratio = of_smallest_ratios(compared.sample_to_records, compared.record_to_sample)
    return {"nearest_ratio": pl.Series(ratio).replace(np.inf, None)}


def of_samples(compared: Compared, stream: np.random.Generator) -> dict[str, float]:
    """The 5th percentile of the ratios of samples."""
    ratio = ratio_of(*compared.sample_to_records.distance.T)
    return {"nndr_q05": float(np.percentile(ratio, PERCENTILE))}


TEST = SampleTest(
    name="nearest-ratio",
    words="Nearest-neighbour distance ratio",
    claim="A sample that is much nearer to one training record than to the second nearest is said "
    "to give that record away; near a ratio of 1 it lies between records (Zhao et al. 2021).",
    records=RecordValues(
        statistic="nearest_ratio",
        sign=-1,
        columns={"nearest_ratio": pl.Float64()},
        nullable=frozenset({"nearest_ratio"}),
        find=of_records,
    ),
    numbers={"nndr_q05": Number("5th percentile of the ratio", -1)},
    judge=of_samples,
)
