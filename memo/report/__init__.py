"""Charts and pages: plain arrays and tables in, bytes of files out."""

from memo.report.binning import highly_memorized
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
    NeighborData,
    Overfitted,
    RecordData,
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
    "NeighborData",
    "Overfitted",
    "RecordData",
    "Remainder",
    "ReportData",
    "highly_memorized",
    "render_comparison",
    "render_report",
]
