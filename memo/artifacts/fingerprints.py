"""Hashes of everything that determines an artifact: its spec, and versions of what computes it."""

import hashlib
import json
from typing import Any

TRAINING_VERSION = 4
"""Raised whenever the same spec would give other weights."""

SCORING_VERSION = 12
"""Raised whenever the same weights would give other log-likelihoods."""

SAMPLED_SCORING_VERSION = 1
"""Raised whenever the same samples would give other log-likelihoods."""

SAMPLES_VERSION = 1
"""Raised whenever the same weights would give other samples."""

NEIGHBORS_VERSION = 3
"""Raised whenever the same samples would give other results of tests on samples."""

ATTACKS_VERSION = 2
"""Raised whenever the same log-likelihoods would give other results of attacks."""


def fingerprint(determinants: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of what determines an artifact."""
    canonical = json.dumps(determinants, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
