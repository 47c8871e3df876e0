"""Mitigations that change what models are trained on."""
