"""`limit`: a random draw from the seed, in the proportions of the labels."""

from collections import Counter

import numpy as np
import pytest

from memo.datasets.draws import drawn, drawn_order, limit_notes
from memo.datasets.registry import prepare_dataset
from memo.spec.dataset_specs import DigitsSpec

LABELS = ["a"] * 600 + ["b"] * 300 + [None] * 90 + ["d"] * 9 + ["e"]


@pytest.mark.parametrize("limit", [1, 2, 10, 100, 333, 999, 1000])
@pytest.mark.parametrize("seed", [0, 7])
def test_each_label_has_its_share_to_within_two_observations(limit: int, seed: int) -> None:
    order = drawn_order(LABELS, seed)
    assert sorted(order.tolist()) == list(range(1000))
    counts = Counter(LABELS[i] for i in order[:limit])
    for label, count in Counter(LABELS).items():
        assert abs(counts[label] - limit * count / 1000) < 2
    chosen = drawn(LABELS, limit, seed)
    assert chosen.tolist() == sorted(order[:limit].tolist())


def test_every_observation_has_the_same_chance_also_of_a_rare_label() -> None:
    """Over seeds each is drawn in a share of limit / n, to five standard errors."""
    times = np.zeros(1000)
    for seed in range(400):
        times[drawn(LABELS, 250, seed)] += 1
    error = np.sqrt(0.25 * 0.75 / 400)
    assert np.abs(times / 400 - 0.25).max() < 5 * error


def test_a_higher_limit_keeps_what_a_lower_one_drew() -> None:
    few, many = (set(drawn(LABELS, limit, 3).tolist()) for limit in (50, 200))
    assert few < many


def test_digits_of_a_limit_have_all_ten_classes_and_their_own_names() -> None:
    whole = prepare_dataset(DigitsSpec(kind="digits", values="levels"))
    some = prepare_dataset(DigitsSpec(kind="digits", values="levels", limit=100))
    counts = Counter(some.observations["label"])
    shares = Counter(whole.observations["label"])
    assert counts.keys() == shares.keys()
    assert all(abs(counts[label] - 100 * shares[label] / 1797) < 2 for label in shares)
    places = [int(name.removeprefix("digits-")) for name in some.observations["id"]]
    assert places == sorted(places)
    assert places[-1] > 1000
    np.testing.assert_array_equal(some.scored[:], whole.scored[:][places])
    other = prepare_dataset(DigitsSpec(kind="digits", values="levels", limit=100, seed=1))
    assert set(other.observations["id"]) != set(some.observations["id"])


def test_labels_of_which_none_was_drawn_are_named() -> None:
    (said,) = limit_notes(drawn(LABELS, 20, 0), LABELS, 0)
    assert said == (
        "limit: 20 of 1,000, drawn at random from seed 0, in the proportions of their labels; "
        "2 of 4 labels have none ('d', 'e')"
    )
    assert limit_notes(drawn(LABELS, 1000, 0), LABELS, 0) == []
    (said,) = limit_notes(drawn(LABELS, 500, 3), ["x"] * 1000, 3)
    assert said == "limit: 500 of 1,000, drawn at random from seed 3"
    digits = prepare_dataset(DigitsSpec(kind="digits", values="levels", limit=5))
    kept = set(digits.observations["label"])
    without = [str(digit) for digit in range(10) if str(digit) not in kept]
    assert f"; {len(without)} of 10 labels have none ({without[0]!r}, " in digits.facts["notes"][0]
