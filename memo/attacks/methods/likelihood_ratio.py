"""LiRA: the likelihood ratio of log p under the target (Carlini et al. 2022, Algorithm 1).

log p of a record is taken to be normal over trainings, with and without the record:

    log N(l; mu_in, s_in^2) - log N(l; mu_out, s_out^2)
"""

import numpy as np

from memo.attacks.methods.attack_method import Attack
from memo.attacks.references import References
from memo.scores.aggregate import FloatArray


def likelihood_ratio(log_p: FloatArray, references: References) -> FloatArray:
    """Log of the likelihood ratio, (n,); see the module's docstring."""
    with_record, without = references.variances
    return np.asarray(
        np.square(log_p - references.mean_out) / (2 * without)
        - np.square(log_p - references.mean_in) / (2 * with_record)
        + np.log(without / with_record) / 2
    )


LIKELIHOOD_RATIO = Attack(
    "likelihood-ratio",
    "Likelihood ratio (LiRA, online)",
    "How much likelier log p is among models with the record than among those without it, both "
    "taken to be normal.",
    likelihood_ratio,
)
