"""Charts and pages: plain arrays and tables in, bytes of files out."""

from memo.report.binning import highly_memorized
from memo.report.charts import distribution
from memo.report.compare import render_comparison
from memo.report.comparison_charts import agreement
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
from memo.report.themes import Chart, in_notebook

__all__ = [
    "UNRELIABLE",
    "Chart",
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
    "agreement",
    "distribution",
    "highly_memorized",
    "in_notebook",
    "render_comparison",
    "render_report",
]
