"""Tests on samples against scores: numbers of fold models, ranks, recalls, and power."""
