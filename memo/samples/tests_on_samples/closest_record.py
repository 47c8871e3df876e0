"""Distance to the closest record (DCR), in the forms of SDMetrics, by the space's distance.

With S samples, T training and V validation records, as many of V as of T:

- share: of samples that are nearer to T than to V;
- overfitting protection: min(1, 2 (1 - share)), `DCROverfittingProtection`;
- baseline protection: min(1, median distance of samples to T / median distance of random data to
  T), `DCRBaselineProtection`; random data are uniform in the range of each column of T, and whole
  numbers in columns of whole numbers.

SDMetrics sums differences of columns, each over its range; here distances are those of the space
that the spec names.
"""

import numpy as np
import polars as pl
import torch
from torch import Tensor

from memo.samples.compared import Compared, few_nearest_records
from memo.samples.interface import Columns, Number, RecordValues, SampleTest


def of_records(compared: Compared, stream: np.random.Generator) -> Columns:
    """Distance of each record to the closest sample."""
    return {"closest_sample": compared.record_to_sample.distance}


def of_samples(compared: Compared, stream: np.random.Generator) -> dict[str, float]:
    """The share, and both forms of protection; NaN where random data are records again.

    Args:
        compared: Records T, and held-out records V.
        stream: Draws the random data.
    """
    to_records = compared.sample_to_records.distance[:, 0]
    share = float((to_records < compared.sample_to_held_out).mean())
    random = random_rows(compared.records.all_rows, len(compared.samples), stream)
    to_random = few_nearest_records(random, compared.records, 1, compared.device).distance
    baseline = float(np.median(to_random))
    return {
        "dcr_share": share,
        "dcr_overfitting_protection": min(1.0, 2 * (1 - share)),
        "dcr_baseline_protection": (
            min(1.0, float(np.median(to_records)) / baseline) if baseline else float("nan")
        ),
    }


def random_rows(rows: Tensor, count: int, stream: np.random.Generator) -> Tensor:
    """Rows that are uniform between the least and the greatest value of each column."""
    low, high = rows.amin(0).double().numpy(), rows.amax(0).double().numpy()
    whole = (rows == rows.round()).all(0).numpy()
    drawn = low + (high - low + whole) * stream.random((count, len(low)))
    return torch.from_numpy(np.where(whole, np.floor(drawn), drawn))


TEST = SampleTest(
    name="closest-record",
    words="Distance to the closest record",
    claim="Samples of a model that has not overfitted are as often nearer to training records as "
    "to as many held-out ones, and farther from either than random data would be (SDMetrics).",
    records=RecordValues(
        statistic="closest_sample",
        sign=-1,
        columns={"closest_sample": pl.Float64()},
        find=of_records,
    ),
    numbers={
        "dcr_share": Number("samples nearer to training than to held-out data", 1),
        "dcr_overfitting_protection": Number("overfitting protection", -1),
        "dcr_baseline_protection": Number("baseline protection", -1),
    },
    judge=of_samples,
    needs_held_out=True,
)
