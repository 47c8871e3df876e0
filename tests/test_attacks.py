"""Membership inference against closed forms, an independent script and mechanisms of known epsilon.

Models are simulated: log p of each record under each, with and without it in training.
"""

import json
import math
import tracemalloc

import numpy as np
import polars as pl
import pytest
import scipy
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score

from memo.attacks import ATTACKS, PRIMARY, Attacked, Promise, TrainedModels, attack_models
from memo.attacks.epsilon import epsilon_bound, gaussian_epsilon
from memo.attacks.grouped import of_groups
from memo.attacks.membership import judged_pairs
from memo.attacks.methods.moderated_middle import moderated_means
from memo.attacks.other_model import answers, memberships
from memo.attacks.rates import LEVELS, auc_of, called, exact_interval, thresholds
from memo.attacks.references import moderated_variance
from memo.attacks.results import Rate
from memo.attacks.risk import more_often_as_member
from memo.errors import InputError
from memo.report.attacker.attacker_words import attacker_section, broken_promise
from memo.scores.significance import moderated_std_error

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def k_fold(rng: np.random.Generator, n: int, folds: int, repeats: int) -> tuple[Mask, Floats]:
    """Memberships in repeats of random partitions, and the repeat of each model."""
    folds_of = np.stack([rng.permutation(n) % folds for _ in range(repeats)])
    trained = (folds_of[:, None] != np.arange(folds)[:, None]).reshape(-1, n)
    return trained, np.repeat(np.arange(repeats), folds)


def halves(rng: np.random.Generator, n: int, pairs: int) -> tuple[Mask, Floats]:
    """Memberships in complementary halves, and the pair of each model."""
    first = np.stack([rng.permutation(n) < n // 2 for _ in range(pairs)])
    return np.stack([first, ~first], 1).reshape(-1, n), np.repeat(np.arange(pairs), 2)


def models_of(log_p: Floats, trained: Mask, group: Floats) -> TrainedModels:
    return TrainedModels(log_p, trained, group.astype(np.int64)[:, None])


def names(n: int) -> pl.DataFrame:
    index = pl.DataFrame({"index": np.arange(n)})
    return index.with_columns(id=pl.col("index").cast(pl.String), label=pl.lit(None, pl.String))


def attacked(models: TrainedModels, promise: Promise | None = None) -> Attacked:
    n = models.log_likelihood.shape[1]
    return attack_models(models, names(n), np.arange(float(n)), epoch=1, promise=promise)


def test_known_gaussians_give_the_roc_curve_of_the_closed_form() -> None:
    """log p gains the same of all records, so that only the means of references add noise.

    Means of the b = 19 references on either side have a variance of 1 / b, their middle half of it.
    """
    rng = np.random.default_rng(0)
    trained, pair = halves(rng, 1000, pairs=20)
    gain, level = 1.5, rng.normal(0, 20, 1000)
    log_p = level + gain * trained + rng.normal(size=trained.shape)
    results = attacked(models_of(log_p, trained, pair)).results
    for name, noise in (
        (PRIMARY, 1 / 38),
        ("middle", 1 / 38),
        ("likelihood-ratio-offline", 1 / 19),
    ):
        found, distance = results.attacks[name], gain / math.sqrt(1 + noise)
        assert found.auc_interval is not None
        area = stats.norm.cdf(distance / math.sqrt(2))
        assert found.auc_interval[0] <= area <= found.auc_interval[1]
        assert found.auc == pytest.approx(area, abs=0.01)
        for rate in found.rates:
            exact = stats.norm.sf(stats.norm.isf(rate.fpr) - distance)
            assert rate.interval is not None
            assert rate.realized_fpr_interval is not None
            assert rate.interval[0] <= exact <= rate.interval[1]
            assert rate.realized_fpr_interval[0] <= rate.fpr <= rate.realized_fpr_interval[1]
    assert results.attacks["loss-threshold"].auc < 0.55  # hidden among levels of records
    curve = results.attacks["middle"].roc
    exact_curve = stats.norm.sf(stats.norm.isf(curve.fpr) - gain / math.sqrt(1 + 1 / 38))
    assert np.abs(np.array(curve.tpr) - exact_curve).max() < 0.02
    assert curve.fpr == sorted(curve.fpr)
    assert curve.tpr == sorted(curve.tpr)


@pytest.mark.parametrize("seed", [1, 2])
def test_models_that_ignore_their_data_give_nothing_away(seed: int) -> None:
    rng = np.random.default_rng(seed)
    trained, repeat = k_fold(rng, 600, folds=5, repeats=4)
    spread = np.exp(rng.normal(0, 0.5, 600))
    log_p = rng.normal(0, 9, 600) + spread * rng.normal(size=trained.shape)
    found = attacked(models_of(log_p, trained, repeat))
    for own in found.results.attacks.values():
        assert own.auc_interval is not None
        assert own.auc_interval[0] <= 0.5 <= own.auc_interval[1]
        for rate in own.rates[:2]:
            assert rate.interval is not None
            assert rate.realized_fpr is not None
            assert rate.interval[0] <= rate.fpr <= rate.interval[1]
            assert rate.realized_fpr == pytest.approx(rate.fpr, rel=0.3)  # thresholds carry over
    assert found.results.epsilon is not None
    assert found.results.epsilon.lower_bound == 0
    assert not found.risks["at_risk"].any()
    assert (found.risks["low"] > 0.01).mean() <= 0.025  # of 95% intervals, on one side


def test_constant_log_likelihoods_are_guessed_at() -> None:
    trained, repeat = k_fold(np.random.default_rng(0), 300, folds=3, repeats=3)
    results = attacked(models_of(np.zeros(trained.shape), trained, repeat)).results
    assert {own.auc for own in results.attacks.values()} == {0.5}
    assert {rate.tpr for own in results.attacks.values() for rate in own.rates[:1]} == {0.0}


def plain_attacks(log_p: Floats, trained: Mask, group: Floats) -> dict[str, list[list[float]]]:
    """Scores of some attacks, record by record, straight from their definitions."""
    scores: dict[str, list[list[float]]] = {}
    for target in range(len(log_p)):
        others = [m for m in range(len(log_p)) if group[m] != group[target]]
        squares, sides = [], []
        for i in range(log_p.shape[1]):
            inside = [log_p[m, i] for m in others if trained[m, i]]
            outside = [log_p[m, i] for m in others if not trained[m, i]]
            sides.append((inside, outside))
            squares.append(np.var(inside) * len(inside) + np.var(outside) * len(outside))
        freedom = len(others) - 2
        deviation = moderated_std_error(np.sqrt(np.array(squares) / freedom), freedom)[0]
        own: dict[str, list[float]] = {name: [] for name in ("middle", "rmia", "likelihood-ratio")}
        ratios = []
        for i, (inside, outside) in enumerate(sides):
            x, mu, nu = log_p[target, i], np.mean(inside), np.mean(outside)
            own["middle"].append(x - (mu + nu) / 2)
            logs = stats.norm.logpdf(x, mu, deviation[i]), stats.norm.logpdf(x, nu, deviation[i])
            own["likelihood-ratio"].append(logs[0] - logs[1])
            ratios.append(x - np.log(np.mean(np.exp(inside)) / 2 + np.mean(np.exp(outside)) / 2))
        own["rmia"] = [float(np.mean(np.array(ratios) <= ratio)) for ratio in ratios]
        for name, values in own.items():
            scores.setdefault(name, []).append(values)
    return scores


def test_an_independent_script_gives_the_same_areas_and_rates() -> None:
    rng = np.random.default_rng(1)
    trained, repeat = k_fold(rng, 150, folds=3, repeats=3)
    spread = np.exp(rng.normal(0, 0.7, 150))
    log_p = rng.normal(-9, 2, 150) + rng.exponential(2, 150) * trained
    log_p += spread * rng.normal(size=trained.shape)
    results = attacked(models_of(log_p, trained, repeat)).results
    for name, rows in plain_attacks(log_p, trained, repeat).items():
        score = np.array(rows)
        area = np.mean([roc_auc_score(m, s) for m, s in zip(trained, score, strict=True)])
        assert results.attacks[name].auc == pytest.approx(area, abs=1e-12)
        hits, alarms = 0, 0
        for one in range(3):
            here, elsewhere = repeat == one, repeat != one
            outside = np.sort(score[elsewhere][~trained[elsewhere]])[::-1]
            limit = outside[int(0.1 * len(outside))]  # so many lie above
            hits += int((score[here] > limit)[trained[here]].sum())
            alarms += int((score[here] > limit)[~trained[here]].sum())
        rate = results.attacks[name].rates[0]
        assert (rate.true_positives, rate.false_positives) == (hits, alarms)
        assert (rate.members, rate.non_members) == (trained.sum(), (~trained).sum())
        assert rate.tpr == pytest.approx(hits / trained.sum())


def test_scores_of_a_target_owe_nothing_to_models_that_depend_on_it() -> None:
    rng = np.random.default_rng(2)
    trained, repeat = k_fold(rng, 200, folds=4, repeats=3)
    log_p = rng.normal(size=trained.shape) + trained
    kin = np.stack([repeat, np.arange(12) // 6], 1).astype(np.int64)
    before = judged_pairs(TrainedModels(log_p, trained, kin))
    changed = log_p.copy()
    changed[1:6] = rng.normal(50, 9, (5, 200))  # of its repeat, or of its half of the models
    after = judged_pairs(TrainedModels(changed, trained, kin))
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(before.score[0], after.score[0])
    assert not np.array_equal(before.score[11], after.score[11])


def test_levels_of_records_change_no_attack_that_has_references() -> None:
    rng = np.random.default_rng(3)
    trained, pair = halves(rng, 300, pairs=5)
    log_p = rng.normal(size=trained.shape) + trained
    moved = log_p + rng.normal(0, 100, 300)
    first, second = (attacked(models_of(own, trained, pair)).results for own in (log_p, moved))
    for name in ATTACKS:
        same = first.attacks[name].auc == pytest.approx(second.attacks[name].auc, abs=1e-9)
        assert same == (name != "loss-threshold")


@pytest.mark.parametrize(("folds", "repeats"), [(10, 2), (2, 30)])
def test_the_moderated_middle_is_no_worse_than_the_middle(folds: int, repeats: int) -> None:
    rng = np.random.default_rng(4)
    trained, repeat = k_fold(rng, 600, folds, repeats)
    gains = rng.exponential(1.0, 600)
    models = models_of(gains * trained + rng.normal(size=trained.shape), trained, repeat)
    areas = []
    for name in ("middle-moderated", "middle"):
        judged = judged_pairs(models, name)
        assert judged is not None
        areas.append(auc_of(judged)[0])
    if repeats == 2:  # one reference without each record
        assert areas[0] - areas[1] > 0.005
    else:
        assert areas[0] == pytest.approx(areas[1], abs=0.005)


def test_moderated_means_are_those_of_the_posterior() -> None:
    """Means of one record with known variances, by the normal equations of both."""
    rng = np.random.default_rng(16)
    trained = np.arange(12)[:, None] < np.full(4000, 9)
    gains = rng.normal(2.0, 1.5, 4000)
    references = TrainedModels(
        gains * trained + rng.normal(size=(12, 4000)), trained, np.zeros((12, 1), np.int64)
    ).references(np.arange(12))
    found = np.stack(moderated_means(references))
    precision = np.array([9.0, 3.0])
    prior = np.array([[1.0, -1.0], [-1.0, 1.0]]) / 1.5**2
    means = np.stack([references.mean_in, references.mean_out])
    expected = np.linalg.solve(
        np.diag(precision) + prior, precision[:, None] * means + np.array([[2.0], [-2.0]]) / 1.5**2
    )
    moved = np.abs((means[0] - means[1]) - (expected[0] - expected[1]))
    within = moved < 0.6
    assert within.mean() > 0.97
    assert np.abs(found - expected)[:, within].max() < 0.1  # variances are estimated
    most = math.sqrt(1 / 9 + 1 / 3)  # one standard error: the rest is no noise
    assert np.abs((means[0] - means[1]) - (found[0] - found[1])).max() < 1.1 * most
    truth = np.stack([gains, np.zeros(4000)])
    assert np.square(found - truth).sum() < np.square(means - truth).sum()


def test_moderated_variances_are_those_of_the_tests_of_scores() -> None:
    rng = np.random.default_rng(5)
    true = np.exp(rng.normal(0, 1, 500))
    squares = true * rng.chisquare(4, 500)
    expected, _ = moderated_std_error(np.sqrt(squares / 4), 4)
    found = moderated_variance(squares, np.full(500, 4))
    np.testing.assert_allclose(np.sqrt(found), expected, rtol=1e-12)
    alike = rng.uniform(3, 5, 500)  # less than chance alone would have them differ
    one = moderated_variance(alike, np.full(500, 4))
    np.testing.assert_allclose(one, alike.sum() / 2000)
    assert moderated_variance(np.zeros(3), np.full(3, 4)).tolist() == [1.0, 1.0, 1.0]


def test_a_rate_that_too_few_non_members_decide_is_not_given() -> None:
    rng = np.random.default_rng(6)
    trained, repeat = k_fold(rng, 150, folds=3, repeats=2)
    log_p = rng.normal(size=trained.shape) + 2 * trained
    found = attacked(models_of(log_p, trained, repeat))
    tenth, hundredth, thousandth = found.results.headline.rates
    assert tenth.missing is None
    for rate, wanted in ((hundredth, "500"), (thousandth, "5,000")):
        assert (rate.tpr, rate.interval, rate.true_positives) == (None, None, 0)
        assert rate.missing is not None
        assert f"on 150 non-members, of whom it takes {wanted}" in rate.missing
    assert found.results.epsilon is None
    assert found.results.risk is None
    assert len(found.risks) == 0
    section = attacker_section(found, pl.DataFrame({"index": [0], "memorization": [1.0]}))
    assert section.rows[0].found[1:] == ["–", "–"]
    assert any(words.startswith("No numbers at 0.1%") for words in section.sentences)


def test_groups_of_g_records_are_told_by_the_closed_form() -> None:
    """Sums of g records gain g times as much, with noise of sqrt(g): sqrt(g) as far apart."""
    rng = np.random.default_rng(4)
    gain, size, own = 0.5, 9, np.repeat(np.arange(500), 9)
    whole, pair = halves(rng, 500, pairs=20)
    trained = whole[:, own]
    log_p = rng.normal(0, 20, len(own)) + gain * trained + rng.normal(size=trained.shape)
    models = models_of(log_p, trained, pair)
    grouped = of_groups(models, own)
    np.testing.assert_array_equal(grouped.in_training, whole)
    found = attacked(grouped).results.headline
    single = attacked(models).results.headline
    for auc, ends, records in (
        (found.auc, found.auc_interval, size),
        (single.auc, single.auc_interval, 1),
    ):
        assert ends is not None
        area = stats.norm.cdf(math.sqrt(records) * gain / math.sqrt(2 * (1 + 1 / 38)))
        assert ends[0] <= area <= ends[1]
        assert auc == pytest.approx(area, abs=0.01)
    halved = TrainedModels(log_p, trained & (np.arange(len(own)) > 0), models.kin)
    partly = of_groups(halved, own)  # the first record is nowhere in training, its group in part
    np.testing.assert_array_equal(partly.there[:, 0], ~whole[:, 0])
    assert partly.there[:, 1:].all()


def test_groups_are_needed_to_attack_with() -> None:
    rng = np.random.default_rng(7)
    trained, repeat = k_fold(rng, 100, folds=5, repeats=1)
    found = attacked(models_of(rng.normal(size=trained.shape), trained, repeat)).results
    assert found.reason is not None
    assert found.attacks == {}
    alike = np.ones_like(trained)
    one_sided = attacked(models_of(rng.normal(size=alike.shape), alike, np.arange(5.0))).results
    assert one_sided.reason is not None
    assert "members and non-members" in one_sided.reason


def test_missing_pairs_are_left_out_of_all_counts() -> None:
    rng = np.random.default_rng(8)
    trained, pair = halves(rng, 400, pairs=6)
    log_p = rng.normal(size=trained.shape) + 3 * trained
    known = rng.random(trained.shape) < 0.7
    known[:, :20] = False
    kin = pair.astype(np.int64)[:, None]
    found = attacked(TrainedModels(np.where(known, log_p, 1e9), trained, kin, known))
    rate = found.results.headline.rates[0]
    assert found.results.not_attacked == 20
    assert found.results.observations == 380
    assert rate.members <= (known & trained).sum()
    assert min(found.results.attacks[name].auc for name in (PRIMARY, "middle", "rmia")) > 0.9
    assert found.risks["risk"][:20].null_count() == 20
    assert found.risks["targets_in"].sum() == rate.members


def randomized(rng: np.random.Generator, trained: Mask, epsilon: float) -> Floats:
    """Randomized response about each membership is all that a model keeps of it."""
    honest = rng.random(trained.shape) < scipy.special.expit(epsilon)
    return np.where(honest == trained, 3.0, 0.0) + rng.normal(0, 1e-3, trained.shape)


def noisy_sums(rng: np.random.Generator, trained: Mask, mu: float) -> Floats:
    """The Gaussian mechanism: sums of unit vectors, with noise; mu is infinite without."""
    vectors = rng.normal(size=(trained.shape[1], 400))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    sums = trained @ vectors + rng.normal(size=(len(trained), 400)) / mu
    return np.asarray(sums @ vectors.T)


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 5.0])
def test_epsilon_of_randomized_response_is_never_exceeded_beyond_chance(epsilon: float) -> None:
    """Counts of 1,000 runs: the bound is above epsilon in at most the nominal 5% of them."""
    rng = np.random.default_rng(9)
    honest = scipy.special.expit(epsilon)
    above = 0
    for hits, alarms in zip(
        rng.binomial(2000, honest, 1000), rng.binomial(500, 1 - honest, 1000), strict=True
    ):
        rate = Rate(
            fpr=0.01,
            missing=None,
            tpr=hits / 2000,
            true_positives=hits,
            members=2000,
            false_positives=alarms,
            non_members=500,
        )
        bound = epsilon_bound(rate)
        assert bound is not None
        above += bound.lower_bound > epsilon
    assert above <= 50


@pytest.mark.parametrize("epsilon", [1.0, 5.0])
def test_attacks_find_no_more_than_randomized_response_lets_through(epsilon: float) -> None:
    bounds = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        trained, repeat = k_fold(rng, 400, folds=3, repeats=3)
        models = models_of(randomized(rng, trained, epsilon), trained, repeat)
        found = attacked(models, Promise(epsilon, 1e-5)).results.epsilon
        assert found is not None
        assert not found.broken
        bounds.append(found.lower_bound)
    assert max(bounds) > epsilon / 3  # and it is no bound that nothing reaches


def test_a_gaussian_mechanism_holds_and_one_without_its_noise_is_caught() -> None:
    promise = Promise(gaussian_epsilon(0.5, float(stats.norm.sf(0.4)), 1e-5), 1e-5)
    for mu, broken in ((0.4, False), (math.inf, True)):
        rng = np.random.default_rng(10)
        trained, pair = halves(rng, 300, pairs=8)
        found = attacked(models_of(noisy_sums(rng, trained, mu), trained, pair), promise)
        bound = found.results.epsilon
        assert bound is not None
        assert bound.broken == broken
        assert (broken_promise(bound) is not None) == broken
        section = attacker_section(found, pl.DataFrame({"index": [0], "memorization": [1.0]}))
        assert (section.broken is not None) == broken
        if section.broken is not None:
            assert "do not release this model" in section.broken


@pytest.mark.parametrize(("count", "total"), [(0, 7), (7, 7), (3, 40), (999, 1000)])
def test_intervals_of_counts_are_those_of_clopper_and_pearson(count: int, total: int) -> None:
    found = stats.binomtest(count, total).proportion_ci(0.95, method="exact")
    assert exact_interval(count, total) == pytest.approx((found.low, found.high), abs=1e-12)


def test_epsilon_of_gaussian_mechanisms_inverts_its_own_formula() -> None:
    for mu in (0.3, 1.0, 4.0):
        epsilon = gaussian_epsilon(0.5, float(stats.norm.sf(mu)), 1e-5)
        delta = stats.norm.cdf(-epsilon / mu + mu / 2)
        delta -= math.exp(epsilon) * stats.norm.cdf(-epsilon / mu - mu / 2)
        assert delta == pytest.approx(1e-5, rel=1e-6)
    assert gaussian_epsilon(0.1, 0.2, 1e-5) == 0.0
    assert gaussian_epsilon(0.0, 0.1, 1e-5) == 0.0


def test_risk_is_the_share_of_models_that_give_a_record_away() -> None:
    rng = np.random.default_rng(11)
    trained, repeat = k_fold(rng, 600, folds=5, repeats=6)
    gains = np.where(np.arange(600) < 60, 12.0, 0.0)
    models = models_of(gains * trained + rng.normal(size=trained.shape), trained, repeat)
    found = attacked(models)
    judged = judged_pairs(models)
    assert judged is not None
    limits = thresholds(judged, 0.01, judged.group)
    assert limits is not None
    calls = called(judged, limits)
    plain = [calls[trained[:, i], i].mean() for i in range(600)]
    np.testing.assert_allclose(found.risks["risk"], plain)
    assert found.risks["false_found"].to_list() == (calls & ~trained).sum(0).tolist()
    assert found.risks["risk"][:60].min() == 1.0
    assert found.risks["at_risk"].to_list() == [True] * 60 + [False] * 540
    assert found.results.risk is not None
    assert found.results.risk.at_risk == 60
    low, high = found.risks["low"].to_numpy(), found.risks["high"].to_numpy()
    assert (low <= found.risks["risk"].to_numpy()).all()
    assert (found.risks["risk"].to_numpy() <= high).all()
    # a repeat whose models all find a record counts once
    assert low[0] == pytest.approx(exact_interval(6, 6)[0])


def test_the_test_of_single_records_is_a_permutation_test() -> None:
    """Two repeats of three models, one of each without the record: 9 equally likely choices."""
    rng = np.random.default_rng(12)
    trained, repeat = k_fold(rng, 2000, folds=3, repeats=2)
    calls = rng.random(trained.shape) < 0.5
    calls[:, :300] = trained[:, :300]  # found exactly where they were trained on
    judged = judged_pairs(models_of(rng.normal(size=trained.shape), trained, repeat))
    assert judged is not None
    marks = more_often_as_member(judged, calls)
    assert not marks.any()  # 1 / 9 is the smallest p-value that there is
    trained, repeat = k_fold(rng, 2000, folds=3, repeats=6)
    calls = rng.random(trained.shape) < 0.5
    calls[:, :300] = trained[:, :300]
    judged = judged_pairs(models_of(rng.normal(size=trained.shape), trained, repeat))
    assert judged is not None
    marks = more_often_as_member(judged, calls)
    assert marks[:300].all()
    assert marks[300:].mean() < 0.02


def test_another_model_gives_its_members_away_at_the_rate_that_it_says() -> None:
    rng = np.random.default_rng(13)
    trained, repeat = k_fold(rng, 2000, folds=5, repeats=3)
    gains = rng.exponential(3.0, 2000)
    models = models_of(gains * trained + rng.normal(size=trained.shape), trained, repeat)
    member = rng.random(2000) < 0.5
    log_p = gains * member + rng.normal(size=2000)
    found = memberships(models, log_p)
    for level in (0.1, 0.01):
        alarms = int((found.called(level) & ~member).sum())
        low, high = exact_interval(alarms, int((~member).sum()), 0.99)
        assert low <= level <= high
        assert found.called(level)[member].mean() > 3 * level
    for low, high in ((0.1, 0.4), (0.6, 0.9)):  # probabilities are calibrated
        chosen = (found.probability > low) & (found.probability < high)
        assert found.probability[chosen].mean() == pytest.approx(member[chosen].mean(), abs=0.1)
    assert not found.of_another_kind
    table = answers(names(2000), log_p, found)
    assert table["score"].is_sorted(descending=True)
    assert table.columns[-3:] == ["member_at_0.1", "member_at_0.01", "member_at_0.001"]
    assert memberships(models, log_p + 30).of_another_kind
    partly = memberships(models, np.where(np.arange(2000) < 50, log_p, np.nan))
    assert len(answers(names(2000), log_p, partly)) == 50
    with pytest.raises(InputError, match="one of the models that would be references"):
        memberships(models, models.log_likelihood[4])


def test_results_are_plain_json_and_come_back() -> None:
    rng = np.random.default_rng(14)
    trained, pair = halves(rng, 200, pairs=4)
    results = attacked(models_of(rng.normal(size=trained.shape) + trained, trained, pair)).results
    plain = json.loads(results.model_dump_json())
    assert plain["primary"] == PRIMARY
    assert [rate["fpr"] for rate in plain["attacks"][PRIMARY]["rates"]] == list(LEVELS)
    assert type(results).model_validate_json(json.dumps(plain)) == results


def test_memory_stays_a_few_tables() -> None:
    rng = np.random.default_rng(15)
    trained, pair = halves(rng, 6000, pairs=10)
    log_p = rng.normal(size=trained.shape) + trained
    models = models_of(log_p, trained, pair)
    tracemalloc.start()
    attacked(models)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25 * log_p.nbytes  # all pairs of targets and references would be 20 times that
