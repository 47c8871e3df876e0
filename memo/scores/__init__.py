"""Memorization scores and their uncertainty; summaries and comparisons of them."""

from memo.scores.aggregate import Aggregate, Method, memorization_scores
from memo.scores.comparison import Comparison, ScoringError, compare_scores
from memo.scores.extrapolation import Extrapolation
from memo.scores.frontier import holm, p_value, undominated
from memo.scores.relation import Interval, MemorizationBin, Relation, relate
from memo.scores.significance import significantly_positive
from memo.scores.statistics import STATISTICS, Statistic
from memo.scores.summaries import Estimate, Summary, quantile_curve, summarize
from memo.scores.table import Scores

__all__ = [
    "STATISTICS",
    "Aggregate",
    "Comparison",
    "Estimate",
    "Extrapolation",
    "Interval",
    "MemorizationBin",
    "Method",
    "Relation",
    "Scores",
    "ScoringError",
    "Statistic",
    "Summary",
    "compare_scores",
    "holm",
    "memorization_scores",
    "p_value",
    "quantile_curve",
    "relate",
    "significantly_positive",
    "summarize",
    "undominated",
]
