"""RMIA: a record against all others (Zarifzadeh, Liu & Shokri 2024, equations 2 to 4).

    share of records z with   p(x | target) / p(x)  >=  p(z | target) / p(z)

p(x) is the mean density over reference models with and without x, half each. Within a target, the
share ranks records as log p(x | target) - log p(x) does; it also makes targets comparable. Their
threshold gamma is 1: a higher one would only tie those at the ends.
"""

import numpy as np
import scipy

from memo.attacks.methods.attack_method import Attack
from memo.attacks.references import References
from memo.scores.aggregate import FloatArray


def rmia(log_p: FloatArray, references: References) -> FloatArray:
    """Share of all records that x beats, (n,)."""
    ratio = log_p - references.log_mean_density
    there = np.isfinite(ratio)
    share = np.full_like(ratio, np.nan)
    share[there] = scipy.stats.rankdata(ratio[there], method="max") / there.sum()
    return share


RMIA = Attack(
    "rmia",
    "RMIA",
    "The share of all records whose density under the target, over that under reference models, "
    "is no larger than this one's.",
    rmia,
)
