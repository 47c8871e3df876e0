"""The figure of what each test on samples sees of what is memorized."""

from typing import Any

from memo.report.charts.sample_test_charts import rank_correlations, recalls
from memo.report.figures import Figure
from memo.report.sampled.sample_test_data import SampleTestData

TITLE = "What tests on samples see of what is memorized"


def sample_test_figure(data: SampleTestData) -> Figure:
    """Show rank correlations and recalls of all tests that say something of each record."""
    tests = [(test, test.seen) for test in data.tests if test.seen is not None]
    known = [(test, seen) for test, seen in tests if seen.rank_correlation is not None]
    if not known:
        return Figure(
            "sample-tests", TITLE, missing="Scores, or the values of each test, are all the same."
        )
    correlations = {
        test.words: [seen.rank_correlation, seen.corrected, seen.without_noise]
        for test, seen in known
    }
    found = {test.words: [seen.recalls.get(0.05), seen.recalls.get(0.01)] for test, seen in known}
    return Figure(
        "sample-tests",
        TITLE,
        [rank_correlations(correlations), recalls(found)],
        f"Each test looks at {data.samples:,} samples of {data.source} and at the data, at no "
        f"log-likelihood, and gives each record a value, by distances in {data.space}. Above, "
        "the rank correlation of these values with the memorization scores, turned so that a test "
        f"that sees memorization lies to the right of 0{_corrections(known)}. Below, the share of "
        "the most memorized 5% and 1% of the records that are among as many which the test puts "
        "first; chance finds 5% and 1% (dashed). Bars are 95% intervals, over records.",
        "Did a test see what is memorized, it would lie far to the right in both. Records that the "
        "model memorizes and never samples stay hidden from all of them.",
    )


def _corrections(known: list[Any]) -> str:
    """Words on the corrected correlations that are there."""
    words = ""
    if any(seen.corrected is not None for _, seen in known):
        words += "; corrected for noise in the scores, too"
    if any(seen.without_noise is not None for _, seen in known):
        words += (
            "; and of the mean ranks that it gives on samples of many models, with noise in "
            "neither, which is what it could see at best"
        )
    return words
