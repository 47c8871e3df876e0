"""The two-sample classifier by nearest neighbours (Lopez-Paz & Oquab 2017).

Samples and records, as many of either, are classified by their nearest neighbour among all others
(leave-one-out). Of one distribution, half are classified rightly; the accuracy is 1 where samples
are unlike the data, and 0 where each is a copy of a record (Xu et al. 2018, section 2).
"""

from dataclasses import replace

import numpy as np
import torch

from memo.samples.compared import Compared, Observations
from memo.samples.interface import Number, SampleTest
from memo.samples.nearest import FloatArray


def of_samples(compared: Compared, stream: np.random.Generator) -> dict[str, float]:
    """Leave-one-out accuracy; where both classes are as near, half of it.

    Example:
        0 and 1 are neighbours of one class, 8 and 9 of two.

        >>> rows = torch.tensor([[0.0], [1.0], [8.0]])
        >>> records = Observations(np.arange(3), lambda index: rows[torch.from_numpy(index)])
        >>> found = Compared(torch.tensor([[9.0], [31.0], [32.0]]), records)
        >>> round(of_samples(found, np.random.default_rng(0))["nearest_neighbor_accuracy"], 6)
        0.666667
    """
    count = min(len(compared.samples), len(compared.records))
    even = _cut(compared, count, stream)
    to_records = even.sample_to_records.distance[:, 0]
    right = [
        *_nearer(even.sample_to_sample, to_records),
        *_nearer(even.record_to_record, even.record_to_sample.distance),
    ]
    return {"nearest_neighbor_accuracy": float(np.mean(right))}


def _cut(compared: Compared, count: int, stream: np.random.Generator) -> Compared:
    """As many samples as records, chosen at random."""
    samples, records = compared.samples, compared.records
    if len(samples) > count:
        chosen = torch.from_numpy(stream.permutation(len(samples))[:count])
        return replace(compared, samples=samples[chosen])
    if len(records) > count:
        index = stream.permutation(records.index)[:count]
        return replace(compared, records=Observations(index, records.rows))
    return compared


def _nearer(own: FloatArray, other: FloatArray) -> FloatArray:
    return np.asarray((own < other) + 0.5 * (own == other))


TEST = SampleTest(
    name="two-samples",
    words="Two-sample classifier",
    claim="A classifier by nearest neighbours tells samples from records in half of all cases "
    "where both come from one distribution, and less often where samples are copies (Lopez-Paz & "
    "Oquab 2017; Xu et al. 2018).",
    numbers={"nearest_neighbor_accuracy": Number("leave-one-out accuracy", -1)},
    judge=of_samples,
)
