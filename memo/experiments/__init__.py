"""Computations of an experiment, without files: models, log-likelihoods, scores, pages."""
