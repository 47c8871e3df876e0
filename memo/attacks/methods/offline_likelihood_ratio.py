"""LiRA, offline: references without the record alone (Carlini et al. 2022, section VI-B).

(l - mu_out) / s_out
"""

import numpy as np

from memo.attacks.methods.attack_method import Attack
from memo.attacks.references import References
from memo.scores.aggregate import FloatArray


def offline_likelihood_ratio(log_p: FloatArray, references: References) -> FloatArray:
    """Standardized distance from the mean of log p without the record, (n,)."""
    return np.asarray((log_p - references.mean_out) / np.sqrt(references.variances[1]))


OFFLINE = Attack(
    "likelihood-ratio-offline",
    "Likelihood ratio (LiRA, offline)",
    "How many standard deviations log p lies above its mean under models without the record.",
    offline_likelihood_ratio,
)
