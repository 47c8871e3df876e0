"""Precision, recall, density and coverage of samples, by balls around records and samples.

The ball of a record reaches to its k-th nearest other record, that of a sample to its k-th nearest
other sample. Precision is the share of samples in the ball of a record, recall that of records in
the ball of a sample (Kynkaanniemi et al. 2019); density is the mean number of records' balls that
a sample lies in, over k, and coverage the share of records whose ball has a sample in it (Naeem et
al. 2020). All with k = 5 and strictly inside, as in `prdc`.
"""

import numpy as np
import torch

from memo.samples.compared import Compared, to_kth_other
from memo.samples.interface import Number, SampleTest
from memo.samples.nearest import FloatArray, few_nearest

K = 5

PAIRS = 1 << 24
"""Pairs whose distances are held at a time."""


def of_samples(compared: Compared, stream: np.random.Generator) -> dict[str, float]:
    """All four; NaN where there are no `K` others of records or samples."""
    names = ("precision", "recall", "density", "coverage")
    samples, records = compared.samples, compared.records
    if min(len(samples), len(records)) <= K:
        return dict.fromkeys(names, float("nan"))
    of_record = to_kth_other(records, K, compared.device)
    of_sample = few_nearest(samples, samples, K + 1, compared.device).distance[:, K]
    balls, within = _balls(compared, of_record, of_sample)
    covered = compared.record_to_sample.distance < of_record
    return {
        "precision": float((balls > 0).mean()),
        "recall": float(within.mean()),
        "density": float(balls.mean() / K),
        "coverage": float(covered.mean()),
    }


def _balls(
    compared: Compared, of_record: FloatArray, of_sample: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Number of records' balls that each sample is in; marks of records in a ball of a sample."""
    samples = compared.samples.double()
    reach = torch.from_numpy(of_sample)
    balls, within = torch.zeros(len(samples)), []
    step = max(1, PAIRS // len(samples))
    for start, rows in compared.records.parts():
        for first in range(0, len(rows), step):
            some = rows[first : first + step].double()
            # without matrix products, whose rounding would put some on the wrong side
            distance = torch.cdist(some, samples, compute_mode="donot_use_mm_for_euclid_dist")
            own = torch.from_numpy(of_record[start + first : start + first + len(some)])
            balls += (distance < own[:, None]).sum(0)
            within.append((distance < reach).any(1))
    return balls.double().numpy(), torch.cat(within).double().numpy()


TEST = SampleTest(
    name="precision-recall",
    words="Precision, recall, density and coverage",
    claim="Samples of a model that copies lie in the balls of more training records than of "
    "held-out ones, and cover more of them (Kynkaanniemi et al. 2019; Naeem et al. 2020).",
    numbers={
        "precision": Number("precision", 1),
        "recall": Number("recall", 1),
        "density": Number("density", 1),
        "coverage": Number("coverage", 1),
    },
    judge=of_samples,
)
