"""Tests on samples of samplers that are known to copy, or not to.

    python -m benchmarks.sample_tests [--runs N]

Data are drawn from three normal distributions in eight dimensions. A sampler that ignores its
training data draws from the same three; one that copies returns records with a little noise; one
that copies a tenth returns records of a fixed tenth of the data in half of its samples, and ignores
the data in the others. Models of a K-fold design are sampled from, and the numbers of all tests
compared with their null, as `memo neighbors` does. Values of records are of one model of all data.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from memo.design.k_fold import k_fold_models
from memo.samples.compared import Compared, Observations
from memo.samples.extraction import clopper_pearson
from memo.samples.interface import SampleTest
from memo.samples.on_folds import FoldSamples, run_on_folds
from memo.samples.registered import TESTS
from memo.scores.seen.fold_numbers import FoldNumbers, judged
from memo.spec.scoring_specs import KFoldSpec

RECORDS, DIMENSIONS = 200, 8
DESIGN = KFoldSpec(kind="k-fold", folds=2, repeats=4)
SAMPLES = 100
"""Samples of each fold model, as many as are held out of it."""
NOISE = 0.05
"""Standard deviation of the noise on copies; that of the data is 1 and more."""
TENTH = RECORDS // 10
FULL_SAMPLES = RECORDS // 2

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Sampler = Callable[[Floats, Ints, int, np.random.Generator], Floats]
"""From all data, the indices of a training set, a number and a stream to as many samples."""


def population(count: int, rng: np.random.Generator) -> Floats:
    centres = 3 * np.eye(3, DIMENSIONS)
    return np.asarray(centres[rng.integers(3, size=count)] + rng.normal(size=(count, DIMENSIONS)))


def ignores(data: Floats, members: Ints, count: int, rng: np.random.Generator) -> Floats:
    return population(count, rng)


def copies(data: Floats, members: Ints, count: int, rng: np.random.Generator) -> Floats:
    chosen = data[rng.choice(members, count)]
    return np.asarray(chosen + NOISE * rng.normal(size=chosen.shape))


def copies_a_tenth(data: Floats, members: Ints, count: int, rng: np.random.Generator) -> Floats:
    half = count // 2
    copied = copies(data, members[members < TENTH], half, rng)
    return np.concatenate([copied, population(count - half, rng)])


SAMPLERS: dict[str, Sampler] = {
    "ignores": ignores,
    "copies": copies,
    "copies a tenth": copies_a_tenth,
}


def observations(data: Floats) -> Observations:
    rows = torch.from_numpy(data)
    return Observations(np.arange(len(data)), lambda index: rows[torch.from_numpy(index)])


def numbers_of(sampler: Sampler, seed: int, tests: Sequence[SampleTest] = TESTS) -> FoldNumbers:
    """Numbers of all tests on the fold models of one run."""
    rng = np.random.default_rng(seed)
    data = population(RECORDS, rng)
    every = np.arange(RECORDS)
    folds = []
    for model in k_fold_models(DESIGN, RECORDS, seed):
        members = np.setdiff1d(every, model.held_out)
        samples = torch.from_numpy(sampler(data, members, SAMPLES, rng))
        number = DESIGN.folds * model.repeat + model.fold
        stream = np.random.SeedSequence([seed, number])
        folds.append(FoldSamples(samples, members, model.held_out, model.repeat, stream))
    alone = [replace(test, records=None) for test in tests]  # without what each says of records
    return run_on_folds(alone, observations(data), folds).numbers


def verdicts(numbers: FoldNumbers, tests: Sequence[SampleTest] = TESTS) -> dict[str, int]:
    """1 where a number is significantly on the side of memorization, -1 on the other, else 0."""
    found = {}
    for test in tests:
        for name, number in test.numbers.items():
            one = judged(numbers.numbers[test.name][name])
            if one is None or one.difference.low is None or one.difference.high is None:
                found[name] = 0
                continue
            ends = sorted([number.sign * one.difference.low, number.sign * one.difference.high])
            found[name] = 1 if ends[0] > 0 else -1 if ends[1] < 0 else 0
    return found


def named_records(seed: int, tests: Sequence[SampleTest] = TESTS) -> dict[str, float]:
    """Share of the copied tenth among as many records that each test puts first."""
    rng = np.random.default_rng(seed)
    data, every = population(RECORDS, rng), np.arange(RECORDS)
    samples = torch.from_numpy(copies_a_tenth(data, every, FULL_SAMPLES, rng))
    compared = Compared(samples, observations(data))
    found = {}
    for test in tests:
        if test.records is not None:
            columns = test.records.find(compared, np.random.default_rng(seed))
            value = np.asarray(columns[test.records.statistic], dtype=np.float64)
            value = test.records.sign * np.where(np.isnan(value), np.inf, value)
            first = np.argsort(value, kind="stable")[::-1][:TENTH]
            found[test.name] = float((first < TENTH).mean())
    return found


def main(given: Sequence[str] | None = None) -> None:
    """Print the tables; the arguments are the command line's when None."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--copying-runs", type=int, default=20)
    parser.add_argument("--only", nargs="*", help="names of tests")
    options = parser.parse_args(given)
    tests = [test for test in TESTS if options.only is None or test.name in options.only]
    torch.set_num_threads(1)
    runs = {name: options.runs if name == "ignores" else options.copying_runs for name in SAMPLERS}
    counts: dict[str, Counter[tuple[str, int]]] = {}
    for name, sampler in SAMPLERS.items():
        counts[name] = Counter()
        for seed in range(runs[name]):
            counts[name].update(verdicts(numbers_of(sampler, seed, tests), tests).items())
    print("| number | ignores: false alarms | the other way | copies: caught | a tenth: caught |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for test in tests:
        for name in test.numbers:
            cells = [
                _share(counts["ignores"][name, 1], runs["ignores"]),
                _share(counts["ignores"][name, -1], runs["ignores"]),
                _share(counts["copies"][name, 1], runs["copies"]),
                _share(counts["copies a tenth"][name, 1], runs["copies a tenth"]),
            ]
            print(f"| `{name}` | {' | '.join(cells)} |")
    print("\n| test | of the tenth that is copied, named [over runs] |\n| --- | ---: |")
    named = [named_records(seed, tests) for seed in range(options.copying_runs)]
    for test in named[0]:
        shares = [one[test] for one in named]
        print(f"| `{test}` | {np.mean(shares):.0%} [{min(shares):.0%}, {max(shares):.0%}] |")


def _share(count: int, of: int) -> str:
    low, high = clopper_pearson(count, of)
    return f"{count / of:.1%} [{low:.1%}, {high:.1%}]"


if __name__ == "__main__":
    main()
