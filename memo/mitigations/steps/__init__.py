"""Mitigations that change the steps of the optimizer."""
