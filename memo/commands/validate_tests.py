"""validate-tests: what tests on samples see of what is known to be memorized."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from memo.artifacts.layout import Layout
from memo.commands.elsewhere.outside_tests import StoredTests, read_outside_tests
from memo.experiments.judged.seen_by_tests import sample_test_data, sample_test_metrics
from memo.experiments.sampling import sampled_models
from memo.pipeline.stored_experiment import load_experiment
from memo.project.project_spec import ProjectSpec
from memo.report.sampled.sample_test_data import SampleTestData
from memo.scores.seen.fold_numbers import FoldNumbers
from memo.scores.seen.power import ToldApart, told_apart


@dataclass(frozen=True)
class NumberApart:
    """One number of a test, for two experiments."""

    test: str
    """Name of the test; `number`: that of the number."""
    number: str
    words: str
    as_published: ToldApart | None
    """By the number with records in training; None where it is not defined."""
    against_null: ToldApart | None
    """By what the number is above that with held-out records in their place."""


@dataclass(frozen=True)
class Pair:
    """Two experiments, and how well each number tells the second's models from the first's."""

    first: str
    second: str
    missing: str | None
    """The reason why they are not compared; then there are no numbers."""
    numbers: list[NumberApart] = field(default_factory=list)


@dataclass(frozen=True)
class Validated:
    """Results of several experiments."""

    tests: dict[str, SampleTestData]
    """By experiment; without those whose models cannot be sampled from."""
    unsampled: list[str]
    """Those."""
    pairs: list[Pair]
    """Each experiment with the first."""

    @property
    def json(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return {
            "experiments": {
                name: {"space": data.space} | sample_test_metrics(data)
                for name, data in self.tests.items()
            },
            "unsampled": self.unsampled,
            "told_apart": [_pair_as_json(pair) for pair in self.pairs],
        }


def validate_tests(project: ProjectSpec, layout: Layout, names: Sequence[str]) -> Validated:
    """Judge tests on samples by memorization scores, from the files of earlier stages.

    Args:
        project: The project.
        layout: Where files lie.
        names: Experiments, and scores of samples from elsewhere; numbers are compared between the
            first and each of the others.

    Raises:
        InputError: Scores are of log-likelihoods from elsewhere, without samples.
        ArtifactError: A file is missing, damaged, or from another spec.
    """
    found, numbers, datasets = {}, {}, {}
    for name in names:
        models, table, of_folds, scores = _stored(project, layout, name)
        data = sample_test_data(models, table, of_folds, scores)
        if data is not None:
            found[name], numbers[name] = data, of_folds
            datasets[name] = scores.facts["data"]
    first = next(iter(found), None)
    pairs = [
        _pair(first, second, found, numbers, same_data=datasets[first] == datasets[second])
        for second in islice(found, 1, None)
        if first is not None
    ]
    return Validated(found, [name for name in names if name not in found], pairs)


def _stored(project: ProjectSpec, layout: Layout, name: str) -> StoredTests:
    """Results of tests of an experiment, or of samples from elsewhere."""
    if name not in project.experiments:
        return read_outside_tests(layout, name)
    experiment = load_experiment(project, layout, name)
    table, numbers = experiment.read_neighbors(experiment.read_samples())
    return StoredTests(sampled_models(experiment), table, numbers, experiment.read_scores())


def _pair(
    first: str,
    second: str,
    found: dict[str, SampleTestData],
    numbers: dict[str, FoldNumbers],
    *,
    same_data: bool,
) -> Pair:
    missing = _unequal(first, second, numbers[first], numbers[second], same_data)
    if missing is not None:
        return Pair(first, second, missing)
    rows = []
    for test in found[first].tests:
        for name, number in test.numbers.items():
            sides = [numbers[one].numbers.get(test.name, {}).get(name) for one in (first, second)]
            known = [side.known for side in sides if side is not None]
            if len(known) == 2:
                (inside, outside), (other_inside, other_outside) = known
                sign = number.sign
                rows.append(
                    NumberApart(
                        test.name,
                        name,
                        number.words,
                        told_apart(sign * inside, sign * other_inside),
                        told_apart(
                            sign * (inside - outside), sign * (other_inside - other_outside)
                        ),
                    )
                )
    return Pair(first, second, None, rows)


def _unequal(
    first: str, second: str, one: FoldNumbers, other: FoldNumbers, same_data: bool
) -> str | None:
    """The reason why numbers cannot be compared at equal budgets; None where they can."""
    for name, numbers in ((first, one), (second, other)):
        if numbers.missing is not None:
            return f"{name} has no numbers: {numbers.missing}"
    if not same_data:
        return "they are of different data"
    if (one.samples, one.records) != (other.samples, other.records):
        return (
            f"budgets differ: {one.samples} samples of each model and {one.records} records, "
            f"against {other.samples} and {other.records}"
        )
    return None


def _pair_as_json(pair: Pair) -> dict[str, Any]:
    return {
        "first": pair.first,
        "second": pair.second,
        "missing": pair.missing,
        "numbers": [
            {
                "test": one.test,
                "number": one.number,
                "as_published": _as_json(one.as_published),
                "against_null": _as_json(one.against_null),
            }
            for one in pair.numbers
        ],
    }


def _as_json(found: ToldApart | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"higher": found.higher._asdict(), "power": found.power._asdict()}
