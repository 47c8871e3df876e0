"""Versions of what computes files: a part of every fingerprint, next to the spec."""

__all__ = ["NEIGHBORS_VERSION", "SAMPLES_VERSION", "SCORING_VERSION", "TRAINING_VERSION"]

TRAINING_VERSION = 3
"""Raised whenever the same spec would give other weights."""

SCORING_VERSION = 11
"""Raised whenever the same weights would give other log-likelihoods."""

SAMPLES_VERSION = 1
"""Raised whenever the same weights would give other samples."""

NEIGHBORS_VERSION = 2
"""Raised whenever the same samples would give other results of tests on samples."""
