"""Scores against closed forms and simulations with a known answer."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from memo.errors import InputError
from memo.report.charts.experiment_charts import quantile_curves
from memo.report.headlines import difference_headlines, metrics, summary_headlines
from memo.scores.aggregate import memorization_scores
from memo.scores.comparison import ScoringError, compare_scores
from memo.scores.significance import (
    _inverse_trigamma,
    moderated_std_error,
    significantly_positive,
)
from memo.scores.statistics import STATISTICS, Statistic
from memo.scores.summaries import jackknifed, quantile_curve, summarize
from memo.scores.table import Scores

Rng = np.random.Generator


def k_fold(n: int, folds: int, repeats: int, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Training sets as marks, (models, n), and the repeat of each model."""
    fold_of = [rng.permutation(np.arange(n) % folds) for _ in range(repeats)]
    in_training = np.stack([of != fold for of in fold_of for fold in range(folds)])
    return in_training, np.repeat(np.arange(repeats), folds)


def simulate(
    method: str,
    *,
    std_in: float,
    std_out: float,
    folds: int = 10,
    repeats: int = 3,
    n: int = 4000,
    seed: int = 0,
) -> tuple[np.ndarray, float]:
    """Scores where log p is normal over models, and the score that infinitely many would give.

    E log p = m; log E p = m + s^2 / 2.
    """
    rng = np.random.default_rng(seed)
    in_training, repeat = k_fold(n, folds, repeats, rng)
    mean_in, mean_out = -20.0, -25.0
    noise = rng.normal(size=in_training.shape)
    log_p = np.where(in_training, mean_in + std_in * noise, mean_out + std_out * noise)
    scores = memorization_scores(log_p, np.zeros_like(log_p), in_training, repeat, method)
    of_mean_densities = (std_in**2 - std_out**2) / 2
    truth = mean_in - mean_out + (of_mean_densities if method == "paper" else 0.0)
    return scores.memorization, truth


def test_formulas_of_the_paper_by_hand() -> None:
    log_p = np.log([[0.1, 0.4], [0.3, 0.2], [0.5, 0.6], [0.7, 0.1]])
    in_training = np.array([[True, False], [False, True], [True, True], [False, False]])
    scores = memorization_scores(
        log_p, np.zeros_like(log_p), in_training, np.array([0, 0, 1, 1]), "paper"
    )
    assert np.allclose(scores.log_p_in, np.log([0.3, 0.4]))
    assert np.allclose(scores.log_p_out, np.log([0.5, 0.25]))
    assert np.allclose(scores.memorization, np.log([0.3 / 0.5, 0.4 / 0.25]))
    assert np.allclose(scores.mean_log_likelihood_in, np.log([0.05, 0.12]) / 2)


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("folds", [2, 5, 10])
def test_scores_are_differences_of_mean_logs(folds: int, repeats: int) -> None:
    rng = np.random.default_rng(1)
    in_training, repeat = k_fold(60, folds, repeats, rng)
    log_p = rng.normal(-10, 3, in_training.shape)
    scores = memorization_scores(log_p, np.zeros_like(log_p), in_training, repeat, "mean-log")
    expected = [log_p[m, i].mean() - log_p[~m, i].mean() for i, m in enumerate(in_training.T)]
    assert np.allclose(scores.memorization, expected)
    logs = special.logsumexp
    paper = [
        logs(log_p[m, i]) - np.log(m.sum()) - logs(log_p[~m, i]) + np.log((~m).sum())
        for i, m in enumerate(in_training.T)
    ]
    assert np.allclose(scores.memorization_paper, paper)


def test_methods_agree_where_models_differ_little() -> None:
    """log E p - E log p = s^2 / 2, which is nothing for small s."""
    rng = np.random.default_rng(2)
    in_training, repeat = k_fold(40, 2, 3, rng)
    log_p = np.where(in_training, -10, -12) + 1e-3 * rng.normal(size=in_training.shape)
    scores = memorization_scores(log_p, np.zeros_like(log_p), in_training, repeat, "mean-log")
    assert np.allclose(scores.memorization, scores.memorization_paper, rtol=0, atol=1e-5)
    assert not np.allclose(scores.memorization, scores.memorization_paper, rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", ["paper", "mean-log"])
def test_no_spread_between_models_gives_the_exact_difference(method: str) -> None:
    scores, truth = simulate(method, std_in=0.0, std_out=0.0)
    assert np.allclose(scores, truth)


@pytest.mark.parametrize("repeats", [1, 2, 3, 10])
@pytest.mark.parametrize(("std_in", "std_out"), [(1.0, 1.0), (2.0, 4.0), (4.0, 2.0), (6.5, 9.9)])
def test_scores_do_not_move_with_the_number_of_repeats(
    std_in: float, std_out: float, repeats: int
) -> None:
    """The simulation that decides the default: 4,000 observations with a known score."""
    scores, truth = simulate("mean-log", std_in=std_in, std_out=std_out, repeats=repeats)
    assert abs(scores.mean() - truth) < 4 * scores.std() / math.sqrt(len(scores))


@pytest.mark.parametrize("std", [2.0, 4.0])
def test_the_score_of_the_paper_moves_with_the_number_of_repeats(std: float) -> None:
    few, truth = simulate("paper", std_in=std, std_out=std, repeats=1)
    many, _ = simulate("paper", std_in=std, std_out=std, repeats=20)
    assert few.mean() - truth > 2 * (many.mean() - truth) > 0


def test_simulation_of_a_normal_density_whose_score_is_known_exactly() -> None:
    """A fits N(mean of the training set + noise, 1); both scores have a closed form."""
    rng = np.random.default_rng(3)
    n, folds, repeats, noise = 30, 10, 3, 0.8
    x = rng.normal(size=n)
    kept = n - n // folds
    bias = {"paper": [], "mean-log": []}
    for _ in range(60):
        in_training, repeat = k_fold(n, folds, repeats, rng)
        means = np.array([x[members].mean() for members in in_training])
        means += noise * rng.normal(size=len(means))
        log_p = stats.norm.logpdf(x, means[:, None], 1.0)
        for method, found in bias.items():
            scores = memorization_scores(
                log_p, np.zeros_like(log_p), in_training, repeat, method
            ).memorization
            found.append(scores.mean())
    exact = np.mean([_exact_normal_score(x, i, kept, noise) for i in range(n)])
    error = np.std(bias["mean-log"]) / math.sqrt(60)
    assert abs(np.mean(bias["mean-log"]) - exact) < 4 * error + 0.002
    assert np.mean(bias["paper"]) - exact > 4 * error


def _exact_normal_score(x: np.ndarray, i: int, kept: int, noise: float) -> float:
    """E[log p | i in the training set] - E[log p | i out of it], over training sets and noise.

    A training set is `kept` of n drawn without replacement: its mean is close to normal, with the
    hypergeometric variance.
    """
    others = np.delete(x, i)
    n = len(others)

    def log_density(fixed: float, drawn: int) -> float:
        mean = (fixed + drawn * others.mean()) / kept
        sampling = others.var(ddof=1) * drawn * (1 - drawn / n) / kept**2
        return float(stats.norm.logpdf(x[i], mean)) - (noise**2 + sampling) / 2

    return log_density(x[i], kept - 1) - log_density(0.0, kept)


def test_standard_errors_match_the_spread_over_studies() -> None:
    """The jackknife's standard error against the scatter of 300 independent studies."""
    rng = np.random.default_rng(4)
    values, errors = [], []
    for _ in range(300):
        in_training, repeat = k_fold(20, 5, 6, rng)
        log_p = np.where(in_training, -20.0, -22.0) + 0.7 * rng.normal(size=in_training.shape)
        scores = memorization_scores(log_p, np.zeros_like(log_p), in_training, repeat, "mean-log")
        values.append(scores.memorization)
        errors.append(scores.std_error)
    scatter = np.std(values, axis=0).mean()
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(scatter, rel=0.1)


def test_estimator_error_is_the_delta_methods() -> None:
    """Propagated errors against the scatter when the same log-likelihoods are estimated anew."""
    rng = np.random.default_rng(5)
    in_training, repeat = k_fold(10, 5, 2, rng)
    truth = rng.normal(-20, 1, in_training.shape)
    error = rng.uniform(0.01, 0.1, in_training.shape)
    runs = [
        memorization_scores(
            truth + error * rng.normal(size=truth.shape), error, in_training, repeat, "mean-log"
        )
        for _ in range(400)
    ]
    scatter = np.std([run.memorization for run in runs], axis=0)
    assert np.allclose(runs[0].estimator_std_error, scatter, rtol=0.25)


def test_the_standard_error_is_never_below_the_estimators() -> None:
    rng = np.random.default_rng(6)
    in_training, repeat = k_fold(12, 3, 2, rng)
    log_p = np.zeros(in_training.shape)
    scores = memorization_scores(log_p, np.ones_like(log_p), in_training, repeat, "mean-log")
    assert (scores.std_error == scores.estimator_std_error).all()


def test_one_repeat_has_no_standard_error() -> None:
    in_training, repeat = k_fold(12, 3, 1, np.random.default_rng(0))
    log_p = np.zeros(in_training.shape)
    scores = memorization_scores(log_p, log_p, in_training, repeat, "mean-log")
    assert np.isnan(scores.std_error).all()
    assert scores.without_block.shape == (0, 12)


@given(shift=st.floats(-1e4, 1e4), seed=st.integers(0, 1000))
def test_scores_do_not_depend_on_units_of_density(shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    in_training, repeat = k_fold(9, 3, 2, rng)
    log_p = rng.normal(size=in_training.shape)
    zero = np.zeros_like(log_p)
    for method in ("paper", "mean-log"):
        before, after = (
            memorization_scores(values, zero, in_training, repeat, method).memorization
            for values in (log_p, log_p + shift)
        )
        assert np.allclose(before, after, atol=1e-8)


@given(seed=st.integers(0, 1000))
def test_scores_do_not_depend_on_the_order_of_observations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    in_training = rng.random((9, 7)) < 0.6
    in_training[0], in_training[1] = True, False
    log_p = rng.normal(size=in_training.shape)
    order = rng.permutation(7)
    block = np.zeros(9, np.int64)
    zero = np.zeros_like(log_p)
    for method in ("paper", "mean-log"):
        scores = memorization_scores(log_p, zero, in_training, block, method).memorization
        shuffled = memorization_scores(
            log_p[:, order], zero, in_training[:, order], block, method
        ).memorization
        assert np.allclose(scores[order], shuffled)


def test_an_observation_without_models_on_one_side_has_no_score() -> None:
    in_training = np.array([[True, True, False], [True, False, False]])
    log_p = np.array([[0.0, 1.0, 2.0], [0.0, 0.5, 2.0]])
    for method in ("paper", "mean-log"):
        scores = memorization_scores(log_p, 0 * log_p, in_training, np.arange(2), method)
        assert np.isnan(scores.memorization).tolist() == [True, False, True]
        assert scores.memorization[1] == 0.5
        assert np.isnan(scores.std_error).all()


def test_the_jackknife_of_single_models_is_that_of_two_samples() -> None:
    """If densities differ little, U and V are means of log p, of w and of v models:
    the variance is s_w^2 / w + s_v^2 / v, for any two counts of at least two."""
    rng = np.random.default_rng(11)
    n, models = 40, 12
    rank = np.argsort(rng.random((models, n)), axis=0)
    inside = rng.integers(2, models - 1, n)
    in_training = rank < inside
    noise = 1e-4 * rng.normal(size=(models, n))
    log_p = np.where(in_training, -3.0, -5.0) + noise
    zero = np.zeros_like(log_p)
    scores = memorization_scores(log_p, zero, in_training, np.arange(models), "paper")
    expected = [
        sum(noise[side, i].var(ddof=1) / side.sum() for side in (m, ~m))
        for i, m in enumerate(in_training.T)
    ]
    assert np.allclose(scores.std_error, np.sqrt(expected), rtol=1e-2)
    means = memorization_scores(log_p, zero, in_training, np.arange(models), "mean-log")
    assert np.allclose(means.std_error, np.sqrt(expected))


def test_errors_of_random_training_sets_hold_what_they_should() -> None:
    """95% intervals of scores from unbalanced sets, with pairs missing, in blocks of several."""
    rng = np.random.default_rng(12)
    n, models, blocks = 1500, 40, 10
    in_training = rng.random((models, n)) < 0.7
    known = rng.random((models, n)) < 0.9
    log_p = np.where(in_training, -20.0, -22.0) + 0.7 * rng.normal(size=(models, n))
    block = np.arange(models) * blocks // models
    scores = memorization_scores(log_p, 0 * log_p, in_training, block, "mean-log", known)
    half = stats.t.ppf(0.975, blocks - 1) * scores.std_error
    held = np.abs(scores.memorization - 2) < half
    assert 0.93 < held.mean() < 0.97


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_what_is_not_known_is_as_if_it_were_not_there(seed: int) -> None:
    rng = np.random.default_rng(seed)
    in_training, known = rng.random((2, 12, 5)) < 0.6
    log_p, errors = rng.normal(size=(12, 5)), rng.random((12, 5))
    block = np.arange(12) // 2
    for method in ("paper", "mean-log"):
        together = memorization_scores(log_p, errors, in_training, block, method, known)
        for i, rows in enumerate(known.T):
            alone = memorization_scores(
                log_p[rows, i : i + 1],
                errors[rows, i : i + 1],
                in_training[rows, i : i + 1],
                block[rows],
                method,
            )
            for name in ("memorization", "estimator_std_error", "mean_log_likelihood_out"):
                a, b = getattr(alone, name)[0], getattr(together, name)[i]
                assert a == pytest.approx(b, abs=1e-12, nan_ok=True)


def test_statistics_take_their_error_from_observations_that_have_one() -> None:
    m = np.linspace(0, 1, 101)
    replicates = np.stack([m - 0.1, m, m + 0.1])
    table = scores_table(m, replicates, np.full(101, -3.0))
    lacking = replicates.copy()
    lacking[:, 50] = np.nan
    partial = scores_table(m, lacking, np.full(101, -3.0)).with_columns(
        std_error=pl.when(pl.col("index") == 50).then(None).otherwise(pl.col("std_error"))
    )
    whole, part = summarize(table), summarize(partial)
    assert part.repeats == whole.repeats == 3
    for statistic in STATISTICS.values():
        found = [jackknifed(statistic, Scores(each)) for each in (table, partial)]
        assert found[0].value == found[1].value
        assert found[0].std_error == pytest.approx(found[1].std_error, rel=1e-9)
    assert part.significant is not None
    paired = compare_scores(Scores(table), Scores(partial), same_partitions=True)
    assert paired.statistics["mean"].std_error == pytest.approx(0, abs=1e-9)


def test_moderated_variances_recover_their_prior() -> None:
    """Variances drawn as s0^2 d0 / chi^2(d0) times chi^2(d) / d: d0 and the level come back."""
    rng = np.random.default_rng(7)
    prior, freedom, level, n = 8.0, 2, 0.25, 20_000
    truth = level * prior / rng.chisquare(prior, n)
    sampled = truth * rng.chisquare(freedom, n) / freedom
    moderated, total = moderated_std_error(np.sqrt(sampled), freedom)
    assert total == pytest.approx(prior + freedom, rel=0.1)
    raw_error = np.mean(np.square(np.log(sampled / truth)))
    moderated_error = np.mean(np.square(np.log(np.square(moderated) / truth)))
    assert moderated_error < raw_error / 3


def test_false_discoveries_stay_at_their_rate() -> None:
    rng = np.random.default_rng(8)
    shares, power = [], []
    for _ in range(50):
        effect = np.where(np.arange(1000) < 200, 3.0, 0.0)
        draws = effect + rng.normal(size=(3, 1000))
        mean, error = draws.mean(0), draws.std(0, ddof=1) / math.sqrt(3)
        found = significantly_positive(mean, error, 3)
        shares.append((found & (effect == 0)).sum() / max(1, found.sum()))
        power.append((found & (effect > 0)).sum() / 200)
    assert np.mean(shares) < 0.06
    assert np.mean(power) > 0.8


def scores_table(memorization: np.ndarray, without: np.ndarray, out: np.ndarray) -> pl.DataFrame:
    n = len(memorization)
    return pl.DataFrame(
        {
            "index": np.arange(n),
            "id": [f"r{i}" for i in range(n)],
            "label": [None] * n,
            "epoch": np.ones(n, np.int64),
            "log_p_in": memorization + out,
            "log_p_out": out,
            "memorization": memorization,
            "low": memorization - 2,
            "high": memorization + 2,
            "memorization_shrunk": memorization / 2,
            "above_threshold": (memorization > 1).astype(float),
            "std_error": np.ones(n),
            "estimator_std_error": np.zeros(n),
            "mean_log_likelihood_in": memorization + out,
            "mean_log_likelihood_out": out,
            "memorization_without_repeat": without.T.tolist(),
        },
        schema_overrides={"label": pl.String, "memorization_without_repeat": pl.List(pl.Float64)},
    )


def test_summary_of_a_known_distribution() -> None:
    m = np.linspace(0, 1, 1001)
    replicates = np.stack([m - 0.1, m, m + 0.1])
    table = scores_table(m, replicates, np.full(1001, -3.0))
    summary = summarize(table.with_columns(std_error=pl.lit(0.0)))
    assert summary.memorization["q95"].value == pytest.approx(0.95)
    assert summary.memorization["q99.9"].value == pytest.approx(0.999)
    assert all(e.low == e.value == e.high for e in summary.memorization.values())
    assert summary.above_threshold.value == 0
    noisy = Scores(table)
    # Jackknife of -0.1, 0, 0.1 by hand: sqrt(2/3 * 0.02)
    error = math.sqrt(2 / 3 * 0.02)
    for statistic in STATISTICS.values():
        assert jackknifed(statistic, noisy).std_error == pytest.approx(error)
    mean = summarize(noisy).memorization["mean"]
    half = stats.t.ppf(0.975, 2) * error
    assert (mean.low, mean.high) == pytest.approx((0.5 - half, 0.5 + half))
    assert summary.held_out_log_likelihood.value == -3.0
    assert summary.gap.value == pytest.approx(0.5)


def test_comparison_pairs_observations_and_repeats() -> None:
    rng = np.random.default_rng(9)
    m = rng.normal(size=500)
    replicates = m + rng.normal(size=(4, 1))
    out = rng.normal(-50, 10, 500)
    a = scores_table(m, replicates, out)
    b = scores_table(m - 1, replicates - 1, out + 0.5)
    paired = compare_scores(Scores(a), Scores(b), same_partitions=True)
    assert paired.mean_memorization.value == pytest.approx(-1)
    assert paired.mean_memorization.std_error == pytest.approx(0, abs=1e-9)
    assert paired.statistics["mean"].std_error == pytest.approx(0, abs=1e-9)
    assert paired.held_out_log_likelihood.value == pytest.approx(0.5)
    assert paired.rank_correlation == pytest.approx(1)
    apart = compare_scores(Scores(a), Scores(b), same_partitions=False)
    assert apart.statistics["mean"].std_error > 0.1
    # Intervals of both sides, combined as if they were independent.
    before, after = (summarize(side).memorization["q95"] for side in (a, b))
    assert before.low < before.value < before.high
    found = apart.statistics["q95"]
    assert found.value == after.value - before.value
    assert found.value - found.low == pytest.approx(
        math.hypot(after.value - after.low, before.high - before.value)
    )


def test_different_observations_cannot_be_compared() -> None:
    m = np.zeros(3)
    a = scores_table(m, m[None], m)
    b = a.with_columns(id=pl.col("id") + "x")
    with pytest.raises(ScoringError, match="different observations"):
        compare_scores(Scores(a), Scores(b), same_partitions=True)


@pytest.mark.parametrize("method", ["paper", "mean-log"])
def test_errors_go_through_scores_by_their_derivatives(method: str) -> None:
    """One log-likelihood with a small error: that of the score is the change that it makes."""
    rng = np.random.default_rng(10)
    log_p = rng.normal(size=(7, 1))
    in_training = np.arange(7)[:, None] < 4
    for model in range(7):
        error = np.where(np.arange(7) == model, 1e-6, 0.0)[:, None]
        up, down = (
            memorization_scores(log_p + sign * error, error, in_training, None, method)
            for sign in (1, -1)
        )
        change = abs(up.memorization[0] - down.memorization[0]) / 2
        assert up.estimator_std_error[0] == pytest.approx(change, rel=1e-5)


@pytest.mark.parametrize("value", [1e-12, 1e-5, 0.01, 0.7, 1.0, 1.6449, 9.0, 1e4, 1e9, 0.9e12])
def test_the_inverse_of_the_trigamma_function_is_that_of_bisection(value: float) -> None:
    found = _inverse_trigamma(value)
    assert special.polygamma(1, found) == pytest.approx(value, rel=1e-13)
    bisected = optimize.bisect(
        lambda log_y: math.log(special.polygamma(1, math.exp(log_y)) / value), -20, 40, xtol=1e-15
    )
    assert found == pytest.approx(math.exp(bisected), rel=1e-12)


@pytest.mark.parametrize("blocks", [2, 3, 10])
@pytest.mark.parametrize("errors", ["equal", "spread", "zeros"])
def test_what_is_significant_is_so_by_scipys_tests(blocks: int, errors: str) -> None:
    rng = np.random.default_rng(blocks)
    scores = rng.standard_normal(500) + 4 * (np.arange(500) < 100)
    std_error = np.sqrt(rng.chisquare(blocks - 1, 500) / (blocks - 1))
    if errors == "spread":
        std_error *= np.exp(rng.standard_normal(500))
    elif errors == "zeros":
        std_error *= rng.random(500) < 0.9
    moderated, freedom = moderated_std_error(std_error, blocks - 1)
    p_values = stats.t.sf(scores / moderated, freedom)
    expected = stats.false_discovery_control(p_values, method="bh") <= 0.05
    np.testing.assert_array_equal(significantly_positive(scores, std_error, blocks), expected)


def two_epochs() -> Scores:
    """Five observations: scores 0, 1, 3, 3, 2 at epoch 10, and all below that at epoch 2."""
    m = np.array([0.0, 1.0, 3.0, 3.0, 2.0])
    replicates = np.stack([m - 1, m, m + 1])
    last = scores_table(m, replicates, np.full(5, -3.0)).with_columns(
        label=pl.Series(["u", "u", "u", "v", "v"]), unreliable_models=pl.lit(0, pl.Int64)
    )
    first = last.with_columns(memorization=pl.col("memorization") - 5, epoch=pl.lit(2))
    return Scores(pl.concat([last.with_columns(epoch=pl.lit(10)), first]), {"data": "hash"})


def test_scores_know_their_epochs_and_blocks() -> None:
    scores = two_epochs()
    assert scores.epochs == [2, 10]
    assert scores.last_epoch == 10
    assert scores.last.memorization.tolist() == [0, 1, 3, 3, 2]
    assert scores.at(2).memorization.tolist() == [-5, -4, -2, -2, -3]
    assert scores.last.facts == {"data": "hash"}
    assert scores.blocks == 3
    assert scores.last.without_block.tolist() == [
        [-1, 0, 2, 2, 1],
        [0, 1, 3, 3, 2],
        [1, 2, 4, 4, 3],
    ]
    assert not scores.exact
    with pytest.raises(InputError, match="epoch 3 was not scored; scored are 2, 10"):
        scores.at(3)


def test_scores_rank_their_observations_by_score_then_index() -> None:
    scores = two_epochs()
    assert scores.ranked["index"].to_list() == [2, 3, 4, 1, 0]
    assert scores.most_memorized(2)["index"].to_list() == [2, 3]
    assert scores.most_memorized(9, "v")["index"].to_list() == [3, 4]
    assert scores.among([0, 4]).ranked["index"].to_list() == [4, 0]
    shrunk = pl.col("index").replace_strict({0: 1.0, 1: 2.0, 2: 3.0, 3: 9.0, 4: 3.0})
    other = replace(scores, table=scores.table.with_columns(memorization_shrunk=shrunk))
    assert other.ranking == "memorization_shrunk"
    assert other.ranked["index"].to_list() == [3, 2, 4, 1, 0]
    unknown = pl.when(pl.col("index") != 4).then(shrunk)
    other = replace(scores, table=scores.table.with_columns(memorization_shrunk=unknown))
    assert other.last.ranking == "memorization"
    assert other.ranked["index"].to_list() == [2, 3, 4, 1, 0]
    with pytest.raises(InputError, match="no observation has the label 'w'; labels are u, v"):
        scores.most_memorized(2, "w")


def test_a_statistic_that_is_registered_is_shown_everywhere(monkeypatch) -> None:
    quartile = Statistic("Upper quartile", "A quarter.", lambda m: np.quantile(m, 0.75))
    share = Statistic("Share above 1", "Many.", lambda m: (m > 1).mean(), unit="")
    monkeypatch.setitem(STATISTICS, "q75", quartile)
    monkeypatch.setitem(STATISTICS, "above", share)
    scores = replace(two_epochs(), table=two_epochs().table.with_columns(std_error=pl.lit(0.0)))
    summary = summarize(scores)
    assert metrics(summary)["memorization"]["q75"] == 3
    assert metrics(summary)["memorization"]["above"] == 0.6
    rows = {row.name: (row.value, row.unit) for row in summary_headlines(summary)}
    assert rows["Upper quartile of memorization"] == (3, "nats")
    assert rows["Share above 1 of memorization"] == (0.6, "")
    compared = compare_scores(scores.at(2), scores.last, same_partitions=True)
    assert "Share above 1 of memorization" in {row.name for row in difference_headlines(compared)}
    curve = quantile_curve(scores)
    assert curve.filter(statistic="above")["value"].to_list() == [0, 0.6]
    drawn = str(quantile_curves(curve, 10, None).to_dict())
    assert "upper quartile" in drawn
    assert "share above" not in drawn  # it has another unit than the chart's axis
