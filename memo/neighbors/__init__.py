"""Nearest-neighbour tests on samples: arrays and an embedding in, distances and ratios out."""

from memo.neighbors.held_out import Neighbors, find_neighbors
from memo.neighbors.search import Nearest, nearest
from memo.neighbors.spaces import (
    Embedding,
    EmbeddingError,
    downsampled,
    embed,
    flattened,
    imported_embedding,
)

__all__ = [
    "Embedding",
    "EmbeddingError",
    "Nearest",
    "Neighbors",
    "downsampled",
    "embed",
    "find_neighbors",
    "flattened",
    "imported_embedding",
    "nearest",
]
