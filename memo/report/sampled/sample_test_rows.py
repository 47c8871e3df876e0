"""The tables of what each test on samples sees of what is memorized."""

from typing import Any

from memo.report.numbers import estimate
from memo.report.sampled.sample_test_data import NumberFound, SampleTestData, TestFound
from memo.scores.relation import Interval
from memo.scores.summaries import Estimate


def sample_test_rows(data: SampleTestData | None) -> dict[str, Any]:
    """Contents of `sample_tests.html.j2`: the numbers of all tests, and the claims of each."""
    if data is None:
        return {}
    return {
        "data": data,
        "numbers": [
            _row(one)
            for test in data.tests
            for one in test.numbers.values()
            if data.missing is None
        ],
        "tests": [_claim(test) for test in data.tests],
    }


def _claim(test: TestFound) -> dict[str, str]:
    seen = test.seen
    return {
        "words": test.words,
        "claim": test.claim,
        "correlation": _interval(None if seen is None else seen.rank_correlation),
        "recall": _interval(None if seen is None else seen.recalls.get(0.05), 100),
    }


def _row(found: NumberFound) -> dict[str, str]:
    one = found.judged
    sides = (None, None, None) if one is None else (one.inside, one.outside, one.difference)
    inside, outside, difference = (_interval(side) for side in sides)
    return {
        "number": found.words,
        "way": "higher" if found.sign > 0 else "lower",
        "inside": inside,
        "outside": outside,
        "difference": difference,
        "verdict": found.verdict,
    }


def _interval(found: Interval | Estimate | None, times: float = 1) -> str:
    if found is None:
        return "–"
    low, high = (None if end is None else times * end for end in (found.low, found.high))
    return estimate(times * found.value, low, high, "%" if times == 100 else "")
