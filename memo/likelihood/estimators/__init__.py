"""Estimators of log p(x), one file each."""
