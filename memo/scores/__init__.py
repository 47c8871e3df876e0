"""Memorization scores and their uncertainty; summaries and comparisons of them."""

from memo.scores.aggregate import Aggregate, Method, memorization_scores
from memo.scores.comparison import Comparison, ScoringError, compare_scores
from memo.scores.frontier import holm, p_value, undominated
from memo.scores.relation import Interval, MemorizationBin, Relation, relate
from memo.scores.released import ensemble_scores, fitted_weight, mixed_log_likelihood, mixture_bound
from memo.scores.significance import significantly_positive
from memo.scores.statistics import STATISTICS, Statistic
from memo.scores.summaries import Estimate, Summary, quantile_curve, summarize
from memo.scores.table import Scores

__all__ = [
    "STATISTICS",
    "Aggregate",
    "Comparison",
    "Estimate",
    "Interval",
    "MemorizationBin",
    "Method",
    "Relation",
    "Scores",
    "ScoringError",
    "Statistic",
    "Summary",
    "compare_scores",
    "ensemble_scores",
    "fitted_weight",
    "holm",
    "memorization_scores",
    "mixed_log_likelihood",
    "mixture_bound",
    "p_value",
    "quantile_curve",
    "relate",
    "significantly_positive",
    "summarize",
    "undominated",
]
