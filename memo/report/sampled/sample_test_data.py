"""Contents of the section on tests on samples: findings, and sight of memorization."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from memo.scores.relation import Relation
from memo.scores.seen.fold_numbers import Judged
from memo.scores.seen.ground_truth import Seen


@dataclass(frozen=True)
class NumberFound:
    """One number of a test."""

    words: str
    sign: int
    """1 where more of it means more memorization, -1 where less does."""
    judged: Judged | None
    """None where no fold model has it."""

    @property
    def verdict(self) -> str:
        """Sees, does not see, or points the other way, by the interval of the difference."""
        if self.judged is None:
            return "not defined"
        low, high = self.judged.difference.low, self.judged.difference.high
        if low is None or high is None:
            return "one fold model gives no interval"
        ends = sorted((self.sign * low, self.sign * high))
        if ends[0] > 0:
            return "sees memorization"
        return "points the other way" if ends[1] < 0 else "sees nothing beyond chance"


@dataclass(frozen=True)
class TestFound:
    """Findings of one test."""

    __test__ = False
    """Not a test of pytest's."""

    name: str
    words: str
    claim: str
    statistic: str | None = None
    """Name of its value of each record; None of a test that has none."""
    may_be_infinite: bool = False
    """True where that value may be."""
    relation: Relation | None = None
    """The relation of that value to memorization."""
    seen: Seen | None = None
    """The value judged by the scores; higher is taken to mean more memorization."""
    numbers: Mapping[str, NumberFound] = field(default_factory=dict)


@dataclass(frozen=True)
class SampleTestData:
    """All tests on samples of one experiment."""

    tests: list[TestFound]
    samples: int
    """Samples that records are compared with."""
    source: str
    """Origin of these, in words that follow "samples of"."""
    space: str
    """Space of the distances, in words that follow "distance in"."""
    missing: str | None
    """The reason why there are no numbers; None where there are."""
    fold_samples: int = 0
    """Samples of each fold model."""
    fold_records: int = 0
    """Records that take the place of training data."""
    fold_models: int = 0
    about: str = ""
    """Sentences on where samples come from; empty where there is nothing to say."""

    def by_name(self, name: str) -> TestFound:
        """The test of that name, which must be there."""
        return next(test for test in self.tests if test.name == name)
