"""Mitigations that change a model's loss or its parametrization."""
