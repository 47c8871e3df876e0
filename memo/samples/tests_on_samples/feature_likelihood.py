"""FLD, the feature likelihood divergence, and its generalization gap (Jiralerspong et al. 2023).

Samples are the centres of a mixture of normal distributions, each with a variance of its own, which
are fitted to the likelihood of the training data: a sample that is a training record again gets a
variance near 0. With L the mean negative log-likelihood of a set of records over the number of
features, in hundredths of a nat:

- FLD = L(held out) - L of the held-out data under such a mixture of half of the training data,
  fitted to the other half: worse samples and copies raise it alike;
- its generalization gap = L(training) - L(held out): the more below 0, the more is memorized.

As in the authors' code: features are standardized by the held-out data; variances start at the
squared distance to the nearest training record, plus 0.001, over the number of features; Adam takes
at most 50 steps of 0.5, and ends where five losses differ by less than 0.0005; a further component
at the mean of the training data takes part in the fit alone. Features that are the same in all of
the held-out data are left out, where the authors divide by 0; and batches are not cut, where they
cut above 10,000 records.
"""

import math

import numpy as np
import polars as pl
import torch
from torch import Tensor

from memo.samples.compared import Compared
from memo.samples.interface import Columns, Number, RecordValues, SampleTest

MOST_SAMPLES = 10_000
EPOCHS = 50
RATE = 0.5
LARGEST_LOG_VARIANCE = 40.0
ORIGIN = (1 - 0.1) ** 2
"""Factor of squared distances to the mean of the training data."""
STILL, RECENT = 5e-4, 5
"""Difference of losses at which the fit ends, and of how many."""
FEWEST_EPOCHS = 6

PAIRS = 1 << 24
"""Pairs of a record and a sample whose distances are held at a time."""


def of_records(compared: Compared, stream: np.random.Generator) -> Columns:
    """Log-likelihood of each record over the number of features, in nats; a higher one is nearer.

    Features are standardized by the records themselves, since none are held out.
    """
    rows = compared.records.all_rows.double()
    training, samples = _standardized(rows, rows, _some(compared.samples, stream))
    variances = fitted_log_variances(training, samples)
    return {"fld_log_likelihood": log_likelihoods(training, samples, variances).numpy()}


def of_samples(compared: Compared, stream: np.random.Generator) -> dict[str, float]:
    """FLD and its generalization gap; NaN where the held-out data are all the same.

    Args:
        compared: Records that variances are fitted to, held-out records, and samples.
        stream: Draws halves of the records, and samples where there are too many.
    """
    held_out, rows = compared.others.all_rows.double(), compared.records.all_rows.double()
    if len(held_out) < 2 or not held_out.std(0).any():
        return {"fld": float("nan"), "fld_gap": float("nan")}
    given = _standardized(held_out, rows, held_out, _some(compared.samples, stream))
    training, held_out, samples = given
    variances = fitted_log_variances(training, samples)
    of_training, of_held_out = (
        -float(log_likelihoods(part, samples, variances).mean()) for part in (training, held_out)
    )
    mixed = training[torch.from_numpy(stream.permutation(len(training)))]
    half = min(len(samples), len(mixed) // 2)
    halves = mixed[:half], fitted_log_variances(mixed[half:], mixed[:half])
    baseline = -float(log_likelihoods(held_out, *halves).mean())
    return {
        "fld": 100 * (of_held_out - baseline),
        "fld_gap": 100 * (of_training - of_held_out),
    }


def fitted_log_variances(training: Tensor, samples: Tensor) -> Tensor:
    """Logarithms of the variances that make the training data most likely, nearly, (m,).

    Args:
        training: (n, d), standardized, float64.
        samples: Centres of the mixture, (m, d).
    """
    n, d = training.shape
    parts = torch.split(training, max(1, PAIRS // len(samples)))
    mean = training.mean(0, keepdim=True)

    def squares_of(part: Tensor) -> Tensor:
        return torch.cat([_squares(part, samples), ORIGIN * _squares(part, mean)], 1)

    kept = [squares_of(part) for part in parts] if len(parts) == 1 else None
    least = torch.stack([part[:, :-1].amin(0) for part in kept or map(squares_of, parts)]).amin(0)
    log_variance = torch.cat([((least + 1e-3) / d).log(), least.new_zeros(1)])
    # the component at the mean has no weight
    log_weight = torch.cat(
        [least.new_full(least.shape, -math.log(len(samples))), mean.new_zeros(1)]
    )
    optimizer, losses = torch.optim.Adam([log_variance], lr=RATE), list[float]()
    for epoch in range(EPOCHS):
        loss, slope = 0.0, torch.zeros_like(log_variance)
        for squares in kept or map(squares_of, parts):
            log_p = _normal(squares, log_variance, d) + log_weight
            total = log_p.logsumexp(1, keepdim=True)
            share = (log_p - total).exp()
            slope += (share * (d - squares * (-log_variance).exp())).sum(0)
            loss -= float(total.sum())
        log_variance.grad = slope / (2 * n * d)
        optimizer.step()
        log_variance[:-1].clamp_(-LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)
        losses.append(loss / (n * d))
        if epoch >= FEWEST_EPOCHS and _still(losses):
            break
    return log_variance[:-1]


def log_likelihoods(rows: Tensor, samples: Tensor, log_variance: Tensor) -> Tensor:
    """Log-likelihoods of rows under the mixture over the number of features, (n,), in nats.

    Example:
        One component of variance 1, and a row at its centre.

        >>> found = log_likelihoods(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1))
        >>> torch.allclose(found, torch.tensor(-0.5 * np.log(2 * np.pi)).float())
        True
    """
    d = rows.shape[1]
    found = [
        _normal(_squares(part, samples), log_variance, d).logsumexp(1) - np.log(len(samples))
        for part in torch.split(rows, max(1, PAIRS // len(samples)))
    ]
    return torch.cat(found) / d


def _still(losses: list[float]) -> bool:
    return max(abs(losses[-1] - loss) for loss in losses[-RECENT:]) < STILL


def _normal(squares: Tensor, log_variance: Tensor, d: int) -> Tensor:
    """Log-densities of normal distributions at squared distances from their means."""
    constant = d / 2 * math.log(2 * math.pi)
    return -0.5 * squares / log_variance.exp() - d / 2 * log_variance - constant


def _squares(rows: Tensor, centres: Tensor) -> Tensor:
    return torch.cdist(rows, centres, compute_mode="donot_use_mm_for_euclid_dist").square()


def _standardized(by: Tensor, *sets: Tensor) -> list[Tensor]:
    """Each set with the mean and the standard deviation of `by` taken off, in float64."""
    mean, deviation = by.mean(0), by.std(0)
    kept = deviation > 0
    return [((rows.double() - mean) / deviation)[:, kept] for rows in sets]


def _some(samples: Tensor, stream: np.random.Generator) -> Tensor:
    if len(samples) <= MOST_SAMPLES:
        return samples
    return samples[torch.from_numpy(stream.permutation(len(samples))[:MOST_SAMPLES])]


TEST = SampleTest(
    name="feature-likelihood",
    words="FLD and its generalization gap",
    claim="Of a mixture of normal distributions around the samples, fitted to training data, "
    "held-out data are less likely than training data where samples are copies: the "
    "generalization gap is far below 0 (Jiralerspong et al. 2023).",
    records=RecordValues(
        statistic="fld_log_likelihood",
        sign=1,
        columns={"fld_log_likelihood": pl.Float64()},
        find=of_records,
    ),
    numbers={"fld": Number("FLD", 1), "fld_gap": Number("generalization gap of FLD", -1)},
    judge=of_samples,
    needs_held_out=True,
)
