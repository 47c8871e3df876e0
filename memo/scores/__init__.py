"""Memorization scores and their uncertainty; summaries and comparisons of them."""

from memo.scores.aggregate import Aggregate, Method, memorization_scores
from memo.scores.comparison import Comparison, ScoringError, compare_scores
from memo.scores.frontier import holm, p_value, undominated
from memo.scores.relation import Interval, MemorizationBin, Relation, relate
from memo.scores.significance import significantly_positive
from memo.scores.summaries import (
    STATISTICS,
    Estimate,
    Summary,
    quantile_curve,
    scored_epoch,
    summarize,
)

__all__ = [
    "STATISTICS",
    "Aggregate",
    "Comparison",
    "Estimate",
    "Interval",
    "MemorizationBin",
    "Method",
    "Relation",
    "ScoringError",
    "Summary",
    "compare_scores",
    "holm",
    "memorization_scores",
    "p_value",
    "quantile_curve",
    "relate",
    "scored_epoch",
    "significantly_positive",
    "summarize",
    "undominated",
]
