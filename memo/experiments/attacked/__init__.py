"""Attacks on the fold models of an experiment, and the influence of its records."""
