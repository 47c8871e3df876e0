"""memo: what a probabilistic generative model has memorized of its training data."""

__version__ = "0.1.0"
