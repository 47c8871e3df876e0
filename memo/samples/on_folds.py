"""Tests on samples of fold models: their numbers, and the ranks that they give to records.

Of each fold model, a test is run on the same samples with some of the records that it was trained
on in the place of training data, drawn at random, and with as many that were held out of it: the
null. A test that needs held-out records beside has half of them in each run; the other half takes
the place of training data in the second. Since few records tell little, the first run is the mean
over up to four parts of the training set, the second, where there are halves, over both.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy
import torch
from torch import Tensor

from memo.samples.compared import Compared, Observations
from memo.samples.interface import SampleTest
from memo.samples.nearest import FloatArray, IndexArray
from memo.scores.seen.fold_numbers import FoldNumbers, Sides

PARTS = 4
"""Most parts of a training set that take its place in turn; a number is their mean."""

FEWEST = 20
"""Fewest held-out records, and samples, of a fold model that tests are run on."""


@dataclass(frozen=True)
class FoldSamples:
    """Samples of a fold model."""

    samples: Tensor
    """Rows of the space, (m, features)."""
    members: IndexArray
    """Indices of the records that it was trained on."""
    held_out: IndexArray
    """Indices of the records that were held out of it."""
    repeat: int
    seed: np.random.SeedSequence


@dataclass(frozen=True)
class OnFolds:
    """Results of tests on the samples of all fold models."""

    numbers: FoldNumbers
    ranks: Mapping[str, FloatArray]
    """By the names of tests that say something of each record: (repeats, n), from 0 for what least
    speaks of memorization to 1. A record's rank is among the records of a model's training set,
    and the mean over the models of a repeat that were trained on it; NaN where there are none."""


def run_on_folds(
    tests: Sequence[SampleTest],
    everything: Observations,
    folds: Iterable[FoldSamples],
    device: torch.device | str | None = None,
) -> OnFolds:
    """Run all tests on samples of fold models.

    Args:
        tests: Which.
        everything: All observations of the data set, in the order of their indices.
        folds: The fold models, repeat by repeat.
        device: Where distances are screened.
    """
    found: list[Mapping[str, Mapping[str, tuple[float, float]]]] = []
    ranks = _Ranks(tests, len(everything))
    samples = fewest = 0
    for fold in folds:
        sizes = len(fold.samples), len(fold.members), len(fold.held_out)
        if min(sizes) < FEWEST:
            words = "a fold model has {} samples, {} records in training and {} held out"
            missing = f"{words.format(*sizes)}; tests take {FEWEST} of each or more"
            return OnFolds(FoldNumbers(missing=missing), {})
        samples, fewest = sizes[0], min(fewest or sizes[2], sizes[2])
        found.append(_numbers(tests, everything, fold, device))
        ranks.add(fold, everything, device)
    numbers = {
        test.name: {
            name: Sides(
                inside=[_finite(one[test.name][name][0]) for one in found],
                outside=[_finite(one[test.name][name][1]) for one in found],
            )
            for name in test.numbers
        }
        for test in tests
        if test.judge is not None
    }
    of_all = FoldNumbers(missing=None, samples=samples, records=fewest, numbers=numbers)
    return OnFolds(of_all, ranks.means())


class _Ranks:
    """Ranks of records, summed over the models of each repeat that were trained on them."""

    def __init__(self, tests: Sequence[SampleTest], count: int) -> None:
        self.tests = {test.name: test.records for test in tests if test.records is not None}
        self.count = count
        self.sums: dict[int, dict[str, FloatArray]] = {}
        self.models: dict[int, IndexArray] = {}

    def add(
        self, fold: FoldSamples, everything: Observations, device: torch.device | str | None
    ) -> None:
        members = fold.members
        # the distance ratio takes no more samples than half of the records
        samples = fold.samples[: len(members) // 2]
        compared = Compared(samples, Observations(members, everything.rows), None, device)
        sums = self.sums.setdefault(
            fold.repeat, {name: np.zeros(self.count) for name in self.tests}
        )
        self.models.setdefault(fold.repeat, np.zeros(self.count, np.int64))[members] += 1
        for name, records in self.tests.items():
            found = records.find(compared, _stream(fold.seed))[records.statistic]
            value = pl.Series(found).cast(pl.Float64).fill_null(np.inf).to_numpy()
            rank = scipy.stats.rankdata(records.sign * value)
            sums[name][members] += (rank - 1) / max(1, len(members) - 1)

    def means(self) -> dict[str, FloatArray]:
        with np.errstate(invalid="ignore"):
            return {
                name: np.array([self.sums[r][name] / self.models[r] for r in sorted(self.sums)])
                for name in self.tests
            }


def _numbers(
    tests: Sequence[SampleTest],
    everything: Observations,
    fold: FoldSamples,
    device: torch.device | str | None,
) -> dict[str, dict[str, tuple[float, float]]]:
    """Both sides of each number of one fold model."""
    stream = _stream(fold.seed)
    outside, members = stream.permutation(fold.held_out), stream.permutation(fold.members)
    half, size = len(outside) // 2, len(outside)
    first, second = outside[:half], outside[half : 2 * half]
    some, fewer = _parts(members, size), _parts(members, half)

    def compared(index: IndexArray, others: IndexArray | None = None) -> Compared:
        beside = None if others is None else Observations(others, everything.rows)
        return Compared(fold.samples, Observations(index, everything.rows), beside, device)

    alone = [[compared(part) for part in some], [compared(outside)]]
    # each half of the held-out records stands beside as often as the other
    beside = [
        [compared(part, (first, second)[place % 2]) for place, part in enumerate(fewer)],
        [compared(first, second), compared(second, first)],
    ]
    found = {}
    for test in tests:
        if test.judge is not None:
            inside_runs, outside_runs = (
                # the same draws in each run, so that their difference is of the records alone
                [test.judge(side, _stream(fold.seed)) for side in sides]
                for sides in (beside if test.needs_held_out else alone)
            )
            found[test.name] = {
                name: (_mean(inside_runs, name), _mean(outside_runs, name)) for name in test.numbers
            }
    return found


def _parts(members: IndexArray, size: int) -> list[IndexArray]:
    """An even number of parts of a training set, or the only one that it has enough records for."""
    count = min(PARTS, len(members) // size)
    count -= count % 2 if count > 1 else 0
    return [members[size * part : size * (part + 1)] for part in range(max(1, count))]


def _mean(runs: Sequence[Mapping[str, float]], name: str) -> float:
    """Mean over the runs in which a number is defined; NaN where it is in none."""
    values = [run[name] for run in runs if np.isfinite(run[name])]
    return float(np.mean(values)) if values else float("nan")


def _stream(seed: np.random.SeedSequence) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
