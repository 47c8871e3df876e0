"""Attacks on models and their records: membership, extraction, influence between records."""
