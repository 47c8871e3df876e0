"""Measurements for the release of a model: replicas among its samples, evidence for the gate."""
