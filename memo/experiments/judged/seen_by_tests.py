"""Sight of each test on samples of what an experiment memorized."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from memo.experiments.sample_relation import relations, space_in_words
from memo.experiments.sampled.sampled_models import SampledModels
from memo.report.sampled.sample_test_data import NumberFound, SampleTestData, TestFound
from memo.samples.interface import SampleTest
from memo.scores.relation import Interval, Relation
from memo.scores.seen.fold_numbers import FoldNumbers, Judged, judged
from memo.scores.seen.ground_truth import Seen, seen
from memo.scores.summaries import Estimate
from memo.scores.table import Scores


def sample_test_data(
    models: SampledModels, table: pl.DataFrame, numbers: FoldNumbers, scores: Scores
) -> SampleTestData | None:
    """Judge all tests by the scores at the last epoch; None of a model without samples.

    Args:
        models: Whose samples they are.
        table: Results of all tests, columns as `memo.samples.registered.schema_of` them.
        numbers: Of its fold models.
        scores: Of the same observations, or some of them, by which alone tests are judged.
    """
    if not len(table):
        return None
    at, found = scores.last, relations(models.tests, table, scores)
    ordered = at.table["index"].to_frame().join(table, on="index", maintain_order="left")
    return SampleTestData(
        tests=[
            TestFound(
                test.name,
                test.words,
                test.claim,
                None if test.records is None else test.records.statistic,
                test.records is not None and test.records.statistic in test.records.nullable,
                found.get(test.name),
                _seen(test, ordered, at),
                dict(_numbers(test, numbers)),
            )
            for test in models.tests
        ],
        samples=models.compared,
        source=models.source,
        space=space_in_words(models),
        missing=numbers.missing,
        fold_samples=numbers.samples,
        fold_records=numbers.records,
        fold_models=len(models.folds) if numbers.missing is None else 0,
        about=models.about,
    )


def sample_test_metrics(data: SampleTestData | None) -> dict[str, Any]:
    """Findings of tests, and their sight of memorization, as plain JSON, with 95% intervals.

    The distance ratio is called `neighbors`; every further test stands under its own name.
    """
    if data is None:
        return {"neighbors": {}}
    return {
        "neighbors" if test.name == "distance-ratio" else test.name: _metrics(test, data)
        for test in data.tests
    }


def _metrics(test: TestFound, data: SampleTestData) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if test.relation is not None:
        found |= {"samples": data.samples} | _of_relation(test, test.relation)
    if test.seen is not None:
        found |= _ends("rank_correlation_corrected", test.seen.corrected)
        found |= _ends("rank_correlation_without_noise", test.seen.without_noise)
        for top, recall in test.seen.recalls.items():
            found |= _ends(f"recall_top_{100 * top:.0f}", recall)
    if not test.numbers:
        return found
    if data.missing is not None:
        return found | {"missing": data.missing}
    return found | {
        "fold_models": data.fold_models,
        "fold_samples": data.fold_samples,
        "numbers": {name: number_as_json(one) for name, one in test.numbers.items()},
    }


def number_as_json(found: NumberFound) -> dict[str, Any] | None:
    """Both sides and their difference; None where no fold model has the number."""
    if found.judged is None:
        return None
    sides = (
        ("inside", found.judged.inside),
        ("outside", found.judged.outside),
        ("difference", found.judged.difference),
    )
    return {name: value for side, one in sides for name, value in _ends(side, one).items()} | {
        "more_means_memorization": found.sign > 0,
        "verdict": found.verdict,
    }


def _of_relation(test: TestFound, relation: Relation) -> dict[str, Any]:
    name = test.statistic
    numbers = {
        "rank_correlation": relation.rank_correlation,
        f"{name}_regular": relation.regular,
        f"{name}_highly_memorized": relation.highly,
        f"{name}_difference": relation.difference,
    }
    infinite = {f"infinite_{name}s": relation.infinite} if test.may_be_infinite else {}
    ends = (_ends(part, one) for part, one in numbers.items())
    return infinite | {key: value for part in ends for key, value in part.items()}


def _seen(test: SampleTest, table: pl.DataFrame, scores: Scores) -> Seen | None:
    if test.records is None:
        return None
    value = table[test.records.statistic].fill_null(np.inf).to_numpy()
    ranks, by_repeat = table[test.records.by_repeat], None
    if not ranks.null_count():
        by_repeat = np.array(ranks.to_list()).T
    return seen(scores, test.records.sign * value, by_repeat)


def _numbers(test: SampleTest, numbers: FoldNumbers) -> Iterator[tuple[str, NumberFound]]:
    of_test = numbers.numbers.get(test.name, {})
    for name, number in test.numbers.items():
        found: Judged | None = judged(of_test[name]) if name in of_test else None
        yield name, NumberFound(number.words, number.sign, found)


def _ends(name: str, found: Interval | Estimate | None) -> dict[str, float | None]:
    value, low, high = (None,) * 3 if found is None else (found.value, found.low, found.high)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
