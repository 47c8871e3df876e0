"""Computations on samples of an experiment's models: spaces of features, densities there."""
