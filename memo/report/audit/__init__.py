"""Replicas among a released model's samples, and the card of its audit."""
