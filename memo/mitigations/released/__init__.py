"""Mitigations that change the density that is released, and no training."""
