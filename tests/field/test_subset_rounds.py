"""Subsets of a/b need b models for balance, and existing rounds stay as they were."""

import numpy as np
import pytest
from pydantic import ValidationError

from memo.design.plan import plan_design
from memo.design.seeds import Stream, seed_sequence
from memo.design.subsets import subset_models
from memo.errors import InputError
from memo.spec.scoring_specs import SubsetsSpec


def spec(fraction: float, models: int) -> SubsetsSpec:
    return SubsetsSpec(kind="subsets", fraction=fraction, models=models)


def held_out(fraction: float, models: int, n: int = 840) -> np.ndarray:
    planned = subset_models(spec(fraction, models), n, seed=3)
    return np.stack([np.isin(np.arange(n), model.held_out) for model in planned])


@pytest.mark.parametrize(
    ("fraction", "smallest"),
    [(0.5, 2), (1 / 3, 3), (0.333333, 3), (0.75, 4), (0.2, 5), (0.6, 5), (5 / 6, 6), (3 / 7, 7),
     (0.875, 8), (0.7, 10), (0.9, 10), (0.95, 20), (1 / 12, 12), (0.85, 10), (0.123, 10)],
)  # fmt: skip
def test_as_few_models_as_balance_requires(fraction: float, smallest: int) -> None:
    allowed = []
    for models in range(1, 61):
        try:
            allowed.append(spec(fraction, models).models)
        except ValidationError as error:
            problem = str(error)
    assert "do not hold out each observation equally often" in problem
    size = spec(fraction, allowed[-1]).round_size
    assert allowed[0] == smallest
    assert {size, 2 * size} <= set(allowed)  # whole rounds, as ever
    for models in allowed:
        last = held_out(fraction, models)[models - models % size :]
        assert np.ptp(last.sum(0)) == 0


def test_two_models_of_a_half_are_complementary_and_four_have_standard_errors() -> None:
    pair = held_out(0.5, 2)
    assert (pair[0] ^ pair[1]).all()
    assert [model.block for model in subset_models(spec(0.5, 4), 30, 0)] == [0, 0, 1, 1]
    with pytest.raises(InputError, match=r"whole rounds of 10 do\), of the 31 observations"):
        plan_design(spec(0.5, 2), 31, 0)
    plan_design(spec(0.5, 4), 31, 0)


@pytest.mark.parametrize("fraction", [0.5, 0.75, 0.7, 0.9, 0.333333])
def test_whole_rounds_are_what_they_were_and_more_models_only_add(fraction: float) -> None:
    """Against the rule as docs/designs.md states it, in a few lines of its own."""
    n, expected = 30, []
    smaller = int(np.ceil(round(min(fraction, 1 - fraction) * n, 6)))
    size = smaller if fraction >= 0.5 else n - smaller
    for repeat in range(2):
        sequence = seed_sequence(3, Stream.PARTITION, repeat)
        stream, count = np.random.Generator(np.random.PCG64(sequence)), np.zeros(n)
        for _ in range(10):
            order = stream.permutation(n)
            part = order[np.argsort(count[order], kind="stable")[:size]]
            count[part] += 1
            expected.append(np.sort(part).tolist())
    whole = subset_models(spec(fraction, 20), n, seed=3)
    assert [model.held_out.tolist() for model in whole] == expected
    few = 10 + spec(fraction, 20).balanced
    for some, all_of_them in zip(subset_models(spec(fraction, few), n, 3), whole, strict=False):
        assert (some.repeat, some.fold) == (all_of_them.repeat, all_of_them.fold)
        assert some.held_out.tolist() == all_of_them.held_out.tolist()


@pytest.mark.parametrize(
    ("fraction", "models", "near"),
    [(0.5, 1, "2 do"), (0.5, 25, "24 or 26 do"), (0.75, 9, "8 or 10 do"), (0.75, 13, "10 or 14 do"),
     (0.7, 15, "10 or 20 do"), (0.95, 30, "20 or 40 do")],
)  # fmt: skip
def test_other_numbers_are_refused_with_the_nearest_that_do(fraction, models, near) -> None:
    with pytest.raises(ValidationError, match=near):
        spec(fraction, models)
