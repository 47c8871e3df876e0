"""Samples of models that were trained elsewhere, read as values of a prepared data set."""
