"""The likelihood ratio with means moderated over records, for few reference models.

LiRA takes a record's two means as its references have them. With one or two references without the
record, their difference d is mostly noise, and where it comes out negative, the attack looks the
wrong way. All records together tell how much true differences vary: with d normal around the true
difference, and that normal around m with variance t^2, which the median and the spread of d give,

    difference = m + w (d - m),   w = t^2 / (t^2 + e),   e = s_in^2 / a + s_out^2 / b

of a references with and b without the record. What is left of d is shared out between the two means
in proportion to their variances, and the ratio is of predictive densities, whose variances have
those of the means in them (Gelman et al. 2013, section 3.5). With few references this is `middle`,
with many LiRA.

The ratio is in units of the root mean square, over records, of how many standard deviations the two
means lie apart. Where nothing is memorized, its scale is that of the noise in m, another one with
other references, and a threshold would not hold from one group of models to the next.
"""

import math
from typing import NamedTuple

import numpy as np

from memo.attacks.methods.attack_method import Attack
from memo.attacks.references import References
from memo.scores.aggregate import FloatArray

CENTRAL = (0.16, 0.84)
"""Quantiles that are two standard deviations apart, of a normal distribution; those in the tails
are records that are memorized much more than others, which say nothing of these."""


class Side(NamedTuple):
    """log p of n records under models of one side."""

    mean: FloatArray
    variance: FloatArray
    """Variance of log p under one more model of this side, (n,)."""


def moderated_sides(references: References) -> tuple[Side, Side]:
    """log p with and without each record, as the module's docstring says."""
    spread_in, spread_out = references.variances
    with np.errstate(divide="ignore"):  # of a record without references on a side
        error_in, error_out = spread_in / references.count_in, spread_out / references.count_out
    error = error_in + error_out
    difference = references.mean_in - references.mean_out
    there = np.isfinite(difference)
    low, centre, high = np.quantile(difference[there], (CENTRAL[0], 0.5, CENTRAL[1]))
    prior = max(float(np.square((high - low) / 2) - error[there].mean()), 0.0)
    with np.errstate(invalid="ignore"):
        rest = (difference - centre) * error / (prior + error)
        share_in, share_out = error_in / error, error_out / error
        level, true = error_in * error_out / error, prior * error / (prior + error)
        return (
            Side(
                references.mean_in - rest * share_in,
                spread_in + level + true * np.square(share_in),
            ),
            Side(
                references.mean_out + rest * share_out,
                spread_out + level + true * np.square(share_out),
            ),
        )


def moderated_ratio(log_p: FloatArray, references: References) -> FloatArray:
    """Log of the likelihood ratio of predictive densities, in its own units, (n,)."""
    inside, outside = moderated_sides(references)
    ratio = (
        np.square(log_p - outside.mean) / (2 * outside.variance)
        - np.square(log_p - inside.mean) / (2 * inside.variance)
        + np.log(outside.variance / inside.variance) / 2
    )
    apart = np.square(inside.mean - outside.mean) / (inside.variance + outside.variance)
    unit = math.sqrt(2 * float(np.nanmean(apart)))
    return np.asarray(ratio / unit if unit > 0 else ratio)


MODERATED = Attack(
    "likelihood-ratio-moderated",
    "Likelihood ratio, moderated",
    "How much likelier log p is among models with the record than among those without it, both "
    "taken to be normal, with means and variances drawn towards those of all records.",
    moderated_ratio,
)
