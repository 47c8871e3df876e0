"""Numbers of tests on samples of fold models, with records in training and with held-out ones.

Of each fold model, a test is run twice on the same samples: with some of the records that it was
trained on in the place of training data, drawn at random, and with as many that were held out of
it. The second is the null. A test that needs held-out records beside has half of them in both
runs, and the other half takes the place of training data in the second.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from memo.samples.compared import Compared, Observations
from memo.samples.interface import SampleTest
from memo.samples.nearest import IndexArray
from memo.scores.fold_numbers import FoldNumbers, Sides

FEWEST = 20
"""Fewest held-out records, and samples, of a fold model that tests are run on."""


def numbers_of_folds(
    tests: Sequence[SampleTest],
    everything: Observations,
    folds: Iterable[tuple[Tensor, IndexArray, IndexArray, np.random.SeedSequence]],
    device: torch.device | str | None = None,
) -> FoldNumbers:
    """Run all tests on samples of fold models.

    Args:
        tests: Those with numbers count.
        everything: All observations of the data set.
        folds: Of each fold model its samples (rows of the space), the indices of the records that
            it was trained on, those of the records held out of it, and a seed.
        device: Where distances are screened.
    """
    found: list[Mapping[str, Mapping[str, tuple[float, float]]]] = []
    samples = fewest = 0
    for drawn, members, held_out, seed in folds:
        few = min(len(drawn), len(members), len(held_out))
        if few < FEWEST:
            return FoldNumbers(
                missing=f"a fold model has {len(drawn)} samples, {len(members)} records in "
                f"training and {len(held_out)} held out; tests take {FEWEST} of each or more"
            )
        samples, fewest = len(drawn), min(fewest or len(held_out), len(held_out))
        found.append(_of_one(tests, everything, drawn, members, held_out, seed, device))
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
    return FoldNumbers(missing=None, samples=samples, records=fewest, numbers=numbers)


def _of_one(
    tests: Sequence[SampleTest],
    everything: Observations,
    samples: Tensor,
    members: IndexArray,
    held_out: IndexArray,
    seed: np.random.SeedSequence,
    device: torch.device | str | None,
) -> dict[str, dict[str, tuple[float, float]]]:
    """Both sides of each number of one fold model."""
    stream = _stream(seed)
    outside = stream.permutation(held_out)
    inside = stream.permutation(members)[: len(outside)]
    half = len(outside) // 2
    beside = Observations(outside[half:], everything.rows)

    def compared(index: IndexArray, others: Observations | None) -> Compared:
        return Compared(samples, Observations(index, everything.rows), others, device)

    alone = compared(inside, None), compared(outside, None)
    with_others = compared(inside[:half], beside), compared(outside[:half], beside)
    found = {}
    for test in tests:
        if test.judge is not None:
            sides = with_others if test.needs_held_out else alone
            # the same draws on both sides, so that their difference is of the records alone
            first, second = (test.judge(side, _stream(seed)) for side in sides)
            found[test.name] = {name: (first[name], second[name]) for name in test.numbers}
    return found


def _stream(seed: np.random.SeedSequence) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
