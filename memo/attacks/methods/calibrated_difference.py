"""Difficulty calibration (Watson et al. 2022): log p less its mean without the record.

l - mu_out
"""

import numpy as np

from memo.attacks.methods.attack_method import Attack
from memo.attacks.references import References
from memo.scores.aggregate import FloatArray


def calibrated_difference(log_p: FloatArray, references: References) -> FloatArray:
    """Distance from the mean over references without the record, (n,) nats."""
    return np.asarray(log_p - references.mean_out)


CALIBRATED = Attack(
    "calibrated-difference",
    "Calibrated difference",
    "log p less its mean under models without the record.",
    calibrated_difference,
)
