"""The memorization distance of MiFID (Bai, Lin, Raffel & Kan 2021, section 4.1).

The mean over samples of the least cosine distance 1 - |cos(sample, record)| to a training record.
MiFID divides FID by it where it is below 0.1, and by 1 elsewhere; here it stands as it is. Rows of
zeros have no direction: they are left out, as in `torchmetrics`.
"""

from dataclasses import replace

import numpy as np
import polars as pl
import torch
from torch import Tensor

from memo.samples.compared import Compared, few_nearest_records, to_references
from memo.samples.interface import Columns, Number, RecordValues, SampleTest
from memo.samples.nearest import FloatArray


def of_records(compared: Compared, stream: np.random.Generator) -> Columns:
    """Least cosine distance of each record to a sample; 1 of what has no direction."""
    samples, found = _directions(compared.samples), np.ones(len(compared.records))
    if len(samples):
        # the nearest of a direction and its opposite: |a - b|^2 = 2 - 2 cos(a, b)
        nearest = to_references(
            compared.records.mapped(_unit), torch.cat([samples, -samples]), compared.device
        )
        lengths = [rows.double().norm(dim=1) for _, rows in compared.records.parts()]
        directed = torch.cat(lengths).numpy() > 0
        found[directed] = np.square(nearest.distance[directed]) / 2
    return {"cosine_distance": found}


def of_samples(compared: Compared, stream: np.random.Generator) -> dict[str, float]:
    """The mean over samples; NaN where no sample or no record has a direction.

    Example:
        The sample (1, 1) is at cos 45 degrees from either record, (0, -2) at cos 180 from one.

        >>> from memo.samples.compared import Observations
        >>> rows = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
        >>> records = Observations(np.arange(2), lambda index: rows[torch.from_numpy(index)])
        >>> found = Compared(torch.tensor([[1.0, 1.0], [0.0, -2.0]]), records)
        >>> round(of_samples(found, np.random.default_rng(0))["cosine_distance"], 6)
        0.146447
    """
    distance = _to_records(compared)
    return {"cosine_distance": float(distance.mean()) if len(distance) else float("nan")}


def _to_records(compared: Compared) -> FloatArray:
    """Least cosine distance of each sample with a direction to a record with one."""
    samples, rows = _directions(compared.samples), compared.records.all_rows
    directed = compared.records.index[(rows.double().norm(dim=1) > 0).numpy()]
    if not len(samples) or not len(directed):
        return np.empty(0)
    records = replace(compared.records, index=directed).mapped(_unit)
    either = few_nearest_records(torch.cat([samples, -samples]), records, 1, compared.device)
    least = either.distance[:, 0].reshape(2, -1).min(0)
    return np.asarray(np.square(least) / 2)


def _directions(rows: Tensor) -> Tensor:
    """Unit vectors of the rows that are not zero."""
    return _unit(rows[rows.double().norm(dim=1) > 0])


def _unit(rows: Tensor) -> Tensor:
    """Unit vectors in float64; rows of zeros stay as they are."""
    length = rows.double().norm(dim=1, keepdim=True)
    return rows.double() / torch.where(length > 0, length, 1)


TEST = SampleTest(
    name="cosine-distance",
    words="Memorization distance of MiFID",
    claim="Samples of a model that returns its training data lie in nearly the direction of a "
    "record: their mean least cosine distance is near 0 (Bai et al. 2021).",
    records=RecordValues(
        statistic="cosine_distance",
        sign=-1,
        columns={"cosine_distance": pl.Float64()},
        find=of_records,
    ),
    numbers={"cosine_distance": Number("mean least cosine distance", -1)},
    judge=of_samples,
)
