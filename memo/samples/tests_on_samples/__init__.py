"""Tests on samples alone, one file each."""
