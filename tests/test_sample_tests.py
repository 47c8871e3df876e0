"""Tests on samples: each agrees with a computation by hand, sees copies, and lets others pass."""

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from benchmarks import sample_tests as simulated
from memo.samples.compared import PART, Compared, Observations, few_nearest_records, to_kth_other
from memo.samples.interface import SampleTest
from memo.samples.on_folds import FEWEST, FoldSamples, run_on_folds
from memo.samples.registered import TESTS, chosen_tests
from memo.samples.tests_on_samples import (
    authenticity,
    closest_record,
    cosine_distance,
    data_copying,
    distance_ratio,
    feature_likelihood,
    nearest_ratio,
    precision_recall,
    two_samples,
)
from memo.scores.seen.fold_numbers import Sides, judged
from memo.scores.seen.ground_truth import block_scores, recall, seen
from memo.scores.seen.power import told_apart
from memo.scores.table import Scores
from memo.spec.sample_specs import CHEAP, NeighborsSpec, TestName

torch.set_num_threads(1)

Floats = NDArray[np.float64]


def compared(samples: object, records: object, held_out: object = ()) -> Compared:
    """Rows of one column, or of several, as what is compared."""
    sets = [np.array(part, float) for part in (samples, records, held_out)]
    drawn, rows, others = (part[:, None] if part.ndim == 1 else part for part in sets)
    every = torch.tensor(np.concatenate([rows, others]) if len(others) else rows)

    def of(start: int, end: int) -> Observations:
        return Observations(np.arange(start, end), lambda index: every[torch.from_numpy(index)])

    beside = of(len(rows), len(every)) if len(others) else None
    return Compared(torch.tensor(drawn), of(0, len(rows)), beside)


def stream() -> np.random.Generator:
    return np.random.default_rng(0)


RECORDS, SAMPLES, HELD_OUT = [0.0, 10, 30, 31], [1.0, 12, 29, 50], [2.0, 13, 60]
# Distances of samples to records: 1, 2, 1, 19; to the second nearest: 9, 12, 2, 20; to held-out
# data: 1, 1, 16, 10. Of records to the nearest other: 10, 10, 1, 1; to samples: 1, 2, 1, 2.


def test_each_number_is_the_one_by_hand() -> None:
    line = compared(SAMPLES, RECORDS, HELD_OUT)
    close = closest_record.of_samples(line, stream())
    assert close["dcr_share"] == pytest.approx(1 / 4)  # only 29 is nearer; 1 is as near
    assert close["dcr_overfitting_protection"] == 1
    assert authenticity.of_samples(line, stream()) == {"authentic": 1 / 4}
    ratios = [1 / 9, 1 / 6, 1 / 2, 19 / 20]
    found = nearest_ratio.of_samples(line, stream())["nndr_q05"]
    assert found == pytest.approx(1 / 9 + 0.15 * (1 / 6 - 1 / 9), abs=1e-12)
    assert np.percentile(ratios, 5) == pytest.approx(found)
    # own nearest of records 10, 10, 1, 1 against samples 1, 2, 1, 2; of samples 11, 11, 17, 21
    # against records 1, 2, 1, 19
    assert two_samples.of_samples(line, stream()) == {"nearest_neighbor_accuracy": 1.5 / 8}
    directions = compared([[1.0, 1], [0, -2], [0, 0]], [[1.0, 0], [0, 3], [0, 0]])
    assert cosine_distance.of_samples(directions, stream())["cosine_distance"] == pytest.approx(
        (1 - math.sqrt(0.5)) / 2, abs=1e-12
    )
    values = cosine_distance.of_records(directions, stream())["cosine_distance"]
    np.testing.assert_allclose(values, [1 - math.sqrt(0.5), 0, 1], atol=1e-12)
    equal = compared([1.0, 9], [0.0, 20], [5.0, 6])
    # of record 0 samples at 1, held out at 5; of 20 at 11 and 14
    assert distance_ratio.of_samples(equal, stream()) == {"nearer_to_samples": 1.0}


def test_each_value_of_a_record_is_the_one_by_hand() -> None:
    line = compared(SAMPLES, RECORDS)
    values = authenticity.of_records(line, stream())
    assert list(values["authenticity_ratio"]) == [10, 5, 1, 0.5]
    assert values["unauthentic"].tolist() == [True, True, True, False]
    assert closest_record.of_records(line, stream())["closest_sample"].tolist() == [1, 2, 1, 2]
    # 31 is the nearest of 50 (19 against 20 of 30), and farther from 29 than 30 is
    ratios = list(nearest_ratio.of_records(line, stream())["nearest_ratio"])
    assert ratios == pytest.approx([1 / 9, 1 / 6, 1 / 2, 19 / 20])


def rows_in_three_cells(start: int, size: float) -> Floats:
    """63 rows without a random number: fractional parts, in cubes around three places."""
    place = np.arange(1, 64)[:, None] + start
    corners = np.array([[1.0, 1, 1], [5, 1, 1], [1, 5, 1]])
    return corners[np.arange(63) % 3] + np.modf(place * np.sqrt([2.0, 3, 5]))[0] * size


BY_AUTHORS = {
    "authentic": 38 / 63,  # AuthPct of fld at ffbbf20
    "c_t": 2.867754380603,  # C_T, as in fld
    "cosine_distance": 0.002024636858,  # torchmetrics 1.9.0
    "coverage": 1.0,  # prdc 0.2, as the next three
    "density": 0.507936507937,
    "precision": 54 / 63,
    "recall": 1.0,
    "fld": 24.583651025,  # fld, whose 32-bit variances are 2e-8 away
    "fld_gap": -8.852989300,
    "nearer_to_samples": 19 / 63,  # by scikit-learn's NearestNeighbors, as nndr_q05
    "nearest_neighbor_accuracy": 52 / 126,  # KNeighborsClassifier, each row left out in turn
    "nndr_q05": 0.443353357950,
}
"""Numbers by others' code for the same rows; of FLD, with the halves that the stream draws."""


def test_numbers_are_those_of_the_authors_code() -> None:
    rows = (
        rows_in_three_cells(200, 1.6) - 0.3,
        rows_in_three_cells(0, 1),
        rows_in_three_cells(100, 1),
    )
    found = {}
    for test in TESTS:
        if test.judge is not None and test is not closest_record.TEST:
            found |= test.judge(compared(*rows), stream())
    assert found == pytest.approx(BY_AUTHORS, abs=1e-7)


def test_distances_to_closest_records_are_those_of_sdmetrics() -> None:
    """One column of one range in both sets of records: SDMetrics divides by either's own range."""
    sets = [rows_in_three_cells(200, 0.9), rows_in_three_cells(0, 1), rows_in_three_cells(100, 1)]
    samples, records, held_out = (rows[:, 0] for rows in sets)
    for rows in (records, held_out):
        rows[:2] = 0, 7
    found = closest_record.of_samples(compared(samples, records, held_out), stream())
    expected = {
        "dcr_share": 46 / 63,
        "dcr_overfitting_protection": 34 / 63,
        "dcr_baseline_protection": 0.018446984395,  # of the random rows that the stream draws
    }
    assert found == pytest.approx(expected, abs=1e-9)


def test_random_rows_are_in_the_range_of_each_column_and_whole_where_it_is() -> None:
    rows = torch.tensor([[0.0, 0.5], [3.0, 2.5]])
    drawn = closest_record.random_rows(rows, 4000, stream()).numpy()
    assert sorted(set(drawn[:, 0])) == [0, 1, 2, 3]
    assert abs((drawn[:, 0] == 3).mean() - 0.25) < 0.03
    assert 0.5 <= drawn[:, 1].min() < 0.51
    assert 2.49 < drawn[:, 1].max() <= 2.5
    copied = compared([1.0, 1, 1], [1.0, 1])
    held_out = replace(copied, held_out=copied.records)
    assert math.isnan(closest_record.of_samples(held_out, stream())["dcr_baseline_protection"])


def by_force(a: Floats, b: Floats) -> Floats:
    return np.sqrt(np.square(a[:, None] - b).sum(2))


def test_balls_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(0)
    records, samples = rng.normal(size=(40, 3)), 0.7 * rng.normal(size=(50, 3))
    found = precision_recall.of_samples(compared(samples, records), stream())
    between, k = by_force(records, samples), precision_recall.K
    of_record, of_sample = (np.sort(by_force(x, x), 1)[:, k] for x in (records, samples))
    inside = between < of_record[:, None]
    assert found["precision"] == pytest.approx(inside.any(0).mean())
    assert found["recall"] == pytest.approx((between < of_sample).any(1).mean())
    assert found["density"] == pytest.approx(inside.sum(0).mean() / k)
    assert found["coverage"] == pytest.approx((between.min(1) < of_record).mean())
    few = precision_recall.of_samples(compared(samples[:5], records), stream())
    assert all(map(math.isnan, few.values()))


def test_c_t_is_a_mean_of_z_scores_of_cells_with_enough_samples() -> None:
    rng = np.random.default_rng(0)
    # cells around 0 and 100 with 30 and 25 samples, and one around 200 with 20, which are too few
    training, held_out, samples = (
        np.concatenate([rng.normal(size=n) + 100 * cell for cell, n in enumerate(counts)])
        for counts in ((40, 40, 40), (12, 24, 9), (30, 25, 20))
    )
    found = data_copying.of_samples(compared(samples, training, held_out), stream())["c_t"]
    expected = []
    for cell in range(2):
        distances = [
            np.abs(part[:, None] - training[40 * cell : 40 * (cell + 1)]).min(1)
            for part in (held_out[12 * cell : 12 + 24 * cell], samples[30 * cell : 30 + 25 * cell])
        ]
        n, m = map(len, distances)
        u = stats.mannwhitneyu(distances[1], distances[0], alternative="less").statistic
        expected.append((u - n * m / 2 + 0.5) / math.sqrt(n * m * (n + m + 1) / 12))
    assert found == pytest.approx((12 * expected[0] + 24 * expected[1]) / 36, abs=1e-9)


def fitted_by_loop(x: Floats, mu: Floats) -> Floats:
    """Logarithms of variances: the fit by gradients written out, without Adam's class."""
    m, d = mu.shape
    squares, to_origin = by_force(x, mu) ** 2, 0.81 * by_force(x, x.mean(0)[None]) ** 2
    s = np.append(np.log((squares.min(0) + 1e-3) / d), 0.0)
    every = np.hstack([squares, to_origin])
    shift = np.append(np.full(m, math.log(m)), 0)
    first, second, losses = np.zeros(m + 1), np.zeros(m + 1), []
    for step in range(1, 51):
        log_p = -0.5 * every / np.exp(s) - d / 2 * (s + math.log(2 * math.pi)) - shift
        total = np.logaddexp.reduce(log_p, axis=1)
        share = np.exp(log_p - total[:, None])
        gradient = -(share * (0.5 * every / np.exp(s) - d / 2)).mean(0) / d
        losses.append(-total.mean() / d)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        s -= 0.5 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        s[:m] = s[:m].clip(-40, 40)
        if step > 6 and max(abs(losses[-1] - loss) for loss in losses[-5:]) < 5e-4:
            break
    return s[:m]


def nll(rows: Floats, mu: Floats, s: Floats) -> float:
    m, d = mu.shape
    log_p = -0.5 * by_force(rows, mu) ** 2 / np.exp(s) - d / 2 * (s + math.log(2 * math.pi))
    return -float((np.logaddexp.reduce(log_p, axis=1) - math.log(m)).mean()) / d


def test_fld_is_as_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    training, held_out, samples = (rng.normal(size=(n, 3)) for n in (30, 25, 20))
    mean, deviation = held_out.mean(0), held_out.std(0, ddof=1)
    x, test, mu = ((part - mean) / deviation for part in (training, held_out, samples))
    s = fitted_by_loop(x, mu)
    mixed = x[stream().permutation(30)]
    halves = mixed[:15], fitted_by_loop(mixed[15:], mixed[:15])
    for pairs in (feature_likelihood.PAIRS, 100):  # in one part, and in several
        monkeypatch.setattr(feature_likelihood, "PAIRS", pairs)
        found = feature_likelihood.of_samples(compared(samples, training, held_out), stream())
        assert found["fld_gap"] == pytest.approx(100 * (nll(x, mu, s) - nll(test, mu, s)), abs=1e-6)
        assert found["fld"] == pytest.approx(
            100 * (nll(test, mu, s) - nll(test, *halves)), abs=1e-6
        )


def test_searches_part_by_part_are_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    line = compared(rng.normal(size=(9, 2)), rng.normal(size=(50, 2)))
    whole = few_nearest_records(line.samples, line.records, 3), to_kth_other(line.records, 4)
    assert PART > 50
    monkeypatch.setattr("memo.samples.compared.PART", 7)
    parts = few_nearest_records(line.samples, line.records, 3), to_kth_other(line.records, 4)
    np.testing.assert_array_equal(parts[0].index, whole[0].index)
    np.testing.assert_array_equal(parts[1], whole[1])


SEE_COPIES = {
    "nearer_to_samples",
    "dcr_share",
    "dcr_overfitting_protection",
    "nndr_q05",
    "authentic",
    "cosine_distance",
    "fld_gap",
    "c_t",
    "nearest_neighbor_accuracy",
}
"""Numbers whose authors say that they see copies."""


def test_a_sampler_that_copies_is_caught_and_one_that_ignores_its_data_passes() -> None:
    caught = simulated.verdicts(simulated.numbers_of(simulated.copies, 0))
    assert {name for name, verdict in caught.items() if verdict == 1} >= SEE_COPIES
    assert -1 not in caught.values()


CHEAPEST = chosen_tests(["nearest-ratio", "authenticity", "cosine-distance"])


def test_false_alarms_are_as_rare_as_intervals_promise() -> None:
    runs = [
        simulated.verdicts(simulated.numbers_of(simulated.ignores, seed, CHEAPEST), CHEAPEST)
        for seed in range(8)
    ]
    alarms = sum(verdict != 0 for run in runs for verdict in run.values())
    # the benchmark counts 200 runs; here one run in twenty, numbers of one run being alike
    assert alarms <= stats.binom.ppf(0.999, len(runs) * len(runs[0]), 0.05)


def test_records_that_are_copied_are_named() -> None:
    named = simulated.named_records(seed=0)
    assert {*named} == {test.name for test in TESTS if test.records is not None}
    assert min(named.values()) >= 0.8


def test_fold_models_that_few_were_held_out_of_have_no_numbers() -> None:
    line = compared(range(30), range(100))
    fold = FoldSamples(
        line.samples, np.arange(81), np.arange(81, 100), 0, np.random.SeedSequence(0)
    )
    found = run_on_folds(CHEAPEST, line.records, [fold])
    assert found.numbers.missing is not None
    assert f"19 held out; tests take {FEWEST} of each" in found.numbers.missing
    assert not found.numbers.numbers
    assert not found.ranks


def test_ranks_of_a_repeat_are_of_the_models_that_were_trained_on_a_record() -> None:
    line = compared(np.arange(30) + 0.5, range(100))
    every, out = np.arange(100), (np.arange(20), np.arange(20, 40))
    folds = [
        FoldSamples(line.samples, np.setdiff1d(every, part), part, 0, np.random.SeedSequence(0))
        for part in out
    ]
    tests = chosen_tests(["closest-record"])
    ranks = run_on_folds(tests, line.records, folds).ranks["closest-record"]
    samples = np.arange(30) + 0.5
    expected = np.zeros((2, 100))
    for place, part in enumerate(out):
        members = np.setdiff1d(every, part)
        distance = np.abs(members[:, None] - samples).min(1)
        expected[place, members] = (stats.rankdata(-distance) - 1) / (len(members) - 1)
    trained = np.array([~np.isin(every, part) for part in out]).sum(0)
    np.testing.assert_allclose(ranks[0], expected.sum(0) / trained)


def test_the_spec_names_every_test_that_there_is() -> None:
    names = [test.name for test in TESTS if test.name != "distance-ratio"]
    assert [*get_args(TestName)] == names
    assert NeighborsSpec().tests == [*CHEAP]
    for test in TESTS:
        assert (test.judge is None) == (not test.numbers)
        assert all(number.sign in (-1, 1) for number in test.numbers.values())


def noisy_scores(rng: np.random.Generator, noise: float, n: int = 1500, blocks: int = 4) -> Scores:
    """Scores of blocks of models: true ones in the column `true`, with noise of its own in each."""
    true = rng.exponential(size=n)
    single = true + noise * rng.normal(size=(blocks, n))
    without = (single.sum(0) - single) / (blocks - 1)
    columns = {
        "index": np.arange(n),
        "epoch": np.ones(n, np.int64),
        "memorization": single.mean(0),
        "std_error": single.std(0, ddof=1) / math.sqrt(blocks),
        "memorization_without_repeat": without.T.tolist(),
        "true": true,
    }
    return Scores(pl.DataFrame(columns))


def test_rank_correlations_are_had_back_from_under_the_noise() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(3):
        scores = noisy_scores(rng, noise=1.5)
        true, n = scores.column("true"), len(scores)
        signal = true + rng.normal(size=n)
        value, by_repeat = signal, signal + rng.normal(size=(4, n))
        found = seen(scores, value, by_repeat)
        truth = float(stats.spearmanr(true, signal).statistic)
        assert found.rank_correlation.value < truth - 0.05
        held += [one.low < truth < one.high for one in (found.corrected, found.without_noise)]
        assert found.corrected.value == pytest.approx(truth, abs=0.08)
        assert found.without_noise.value == pytest.approx(truth, abs=0.08)
    assert sum(held) >= 5
    single = block_scores(scores)
    np.testing.assert_allclose(single.mean(0), scores.memorization)


def test_noise_that_a_repeat_has_in_common_is_not_taken_for_sight() -> None:
    """The values see nothing but the chance of the models that the scores of a repeat are of."""
    scores = noisy_scores(np.random.default_rng(0), noise=1.0)
    single = block_scores(scores)
    rng = np.random.default_rng(1)
    values = single - scores.column("true") + rng.normal(size=single.shape[1])
    found = seen(scores, rng.normal(size=len(scores)), values).without_noise
    assert found.low < 0 < found.high


def test_scores_of_noise_alone_are_corrected_by_nothing() -> None:
    rng = np.random.default_rng(0)
    scores = noisy_scores(rng, noise=1000.0)
    assert seen(scores, rng.normal(size=len(scores))).corrected is None
    nothing = seen(scores, np.zeros(len(scores)))
    assert (nothing.rank_correlation, nothing.corrected, nothing.without_noise) == (None,) * 3
    assert nothing.recalls[0.05].value == pytest.approx(0.05)


def test_recall_is_the_mean_over_orders_of_equal_values() -> None:
    rng = np.random.default_rng(0)
    truth, value = rng.normal(size=200), rng.integers(0, 4, size=200).astype(float)
    shares = []
    for _ in range(2000):
        first = np.lexsort((rng.random(200), -value))[:10]
        shares.append(np.isin(np.argsort(-truth)[:10], first).mean())
    found = recall(truth, value, 10)
    assert found.value == pytest.approx(np.mean(shares), abs=0.015)
    assert recall(truth, truth, 10)[:2] == pytest.approx((1, stats.beta.ppf(0.025, 10, 1)))


def test_the_probability_that_one_is_higher_has_its_coverage() -> None:
    rng = np.random.default_rng(0)
    truth, held = stats.norm.cdf(1 / math.sqrt(2)), 0
    for _ in range(200):
        first, second = rng.normal(size=20), 1 + rng.normal(size=15)
        found = told_apart(first, second)
        u = stats.mannwhitneyu(second, first).statistic
        assert found.higher.value == pytest.approx(u / 300)
        held += found.higher.low <= truth <= found.higher.high
    assert 0.9 < held / 200 < 0.995
    apart = told_apart(np.arange(20.0), np.arange(15.0) + 50)
    assert (apart.higher.value, apart.power.value) == (1, 1)
    assert apart.higher.low == pytest.approx(0.025 ** (1 / 15))
    assert told_apart(np.arange(1.0), np.arange(5.0)) is None


def test_numbers_that_one_side_lacks_are_in_no_mean() -> None:
    found = judged(Sides(inside=[1.0, None, 3.0, 5.0], outside=[0.0, 1.0, None, 2.0]))
    assert (found.models, found.inside.value, found.difference.value) == (2, 3, 2)
    assert judged(Sides(inside=[None], outside=[1.0])) is None


def test_a_test_of_records_alone_has_no_numbers() -> None:
    test = SampleTest("x", "X", "Says nothing.")
    line = compared(range(30), range(100))
    members, held_out = np.arange(50), np.arange(50, 100)
    fold = FoldSamples(line.samples, members, held_out, 0, np.random.SeedSequence(0))
    found = run_on_folds([test], line.records, [fold])
    assert (found.numbers.numbers, found.ranks) == ({}, {})
