"""Charts and pages: plain arrays and tables in, bytes of files out."""

from memo.report.compare import render_comparison
from memo.report.data import (
    ComparedExperiment,
    ComparisonData,
    Difference,
    Frontier,
    FrontierPoint,
    Headline,
    Illustration,
    Mover,
    Movers,
    Overfitted,
    Remainder,
    ReportData,
)
from memo.report.report import UNRELIABLE, render_report

__all__ = [
    "UNRELIABLE",
    "ComparedExperiment",
    "ComparisonData",
    "Difference",
    "Frontier",
    "FrontierPoint",
    "Headline",
    "Illustration",
    "Mover",
    "Movers",
    "Overfitted",
    "Remainder",
    "ReportData",
    "render_comparison",
    "render_report",
]
