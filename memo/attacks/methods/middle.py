"""The simplest strong attack: log p less the middle of its means with and without the record.

    l - (mu_in + mu_out) / 2

It is the likelihood ratio's where all records have one variance and one score.
"""

import numpy as np

from memo.attacks.methods.attack_method import Attack
from memo.attacks.references import References
from memo.scores.aggregate import FloatArray


def above_middle(log_p: FloatArray, references: References) -> FloatArray:
    """Distance from the middle of the two means, (n,) nats."""
    return np.asarray(log_p - (references.mean_in + references.mean_out) / 2)


MIDDLE = Attack(
    "middle",
    "Above the middle",
    "log p less the middle of its means under models with and without the record.",
    above_middle,
)
