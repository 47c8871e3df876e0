"""Fingerprints: a hash of everything that determines an artifact, and nothing more."""

import hashlib
import json
from typing import Any

__all__ = ["fingerprint"]


def fingerprint(determinants: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of what determines an artifact."""
    canonical = json.dumps(determinants, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
