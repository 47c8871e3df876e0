"""Intervals of scores, and what noisy scores say of the true ones."""

import numpy as np
import polars as pl
import pytest
from scipy import interpolate, stats

from benchmarks.coverage import SHAPES, Setting, coverage, simulated
from memo.scores.aggregate import memorization_scores
from memo.scores.intervals import score_intervals
from memo.scores.noise import OWN_FREEDOM, Noise, alike, first_noise, fit_noise
from memo.scores.shrinkage import fitted_weights, posterior
from memo.scores.significance import moderated_std_error, natural_spline
from memo.scores.statistics import STATISTICS
from memo.scores.summaries import summarize, with_true_scores
from memo.scores.table import SHRUNK, Scores
from memo.spec.scoring_specs import KFoldSpec, SubsetsSpec

TEN = KFoldSpec(kind="k-fold", folds=10, repeats=3)


@pytest.mark.parametrize("noise", ["normal", "t4"])
@pytest.mark.parametrize(
    "design",
    [
        KFoldSpec(kind="k-fold", folds=5, repeats=2),
        TEN,
        SubsetsSpec(kind="subsets", models=20, fraction=0.7),
    ],
    ids=str,
)
def test_intervals_hold_the_known_scores(design: KFoldSpec | SubsetsSpec, noise: str) -> None:
    found = coverage(Setting(design, 500, (2.0, 4.0), noise), studies=2)
    assert 0.93 < found["scores"] < 0.98
    assert 0.90 < found["shrunk"] < 0.98


def test_intervals_hold_where_noise_grows_with_the_score() -> None:
    """Over all observations, and over the twentieth with the largest scores."""
    held, highest = [], []
    for seed in range(10):
        stream = np.random.default_rng(seed)
        true = SHAPES["exponential"](stream, 500)
        scores = simulated(Setting(TEN, 500, (2.0, 4.0), growth=15), true, stream, seed)
        low, high = score_intervals(scores.memorization, scores.std_error, 3)
        inside = (low <= true) & (true <= high)
        held.append(inside.mean())
        highest.append(inside[np.argsort(scores.memorization)[-25:]].mean())
    assert 0.93 < np.mean(held) < 0.97
    assert np.mean(highest) > 0.9


def test_a_high_quantile_is_shrunk_to_that_of_the_true_scores() -> None:
    raw, shrunk, held = [], [], []
    for seed in range(8):
        stream = np.random.default_rng(seed)
        true = stream.exponential(5, 500)
        scores = simulated(Setting(TEN, 500, (6.5, 9.9)), true, stream, seed)
        draws = posterior(scores.memorization, scores.std_error, 3).statistic(STATISTICS["q95"])
        low, high = np.quantile(draws, [0.025, 0.975])
        known = np.quantile(true, 0.95)
        raw.append(np.quantile(scores.memorization, 0.95) - known)
        shrunk.append(np.median(draws) - known)
        held.append(low <= known <= high)
    assert np.mean(raw) > 2
    assert abs(np.mean(shrunk)) < 0.2 * np.mean(raw)
    assert np.mean(held) >= 0.85


@pytest.mark.parametrize("seed", [2, 3])
def test_intervals_hold_of_many_scores_with_heavy_tailed_noise(seed: int) -> None:
    """Chains that learn from all 4,000 scores put the median three standard deviations off."""
    stream = np.random.default_rng(seed)
    true = stream.exponential(5, 4000)
    design = KFoldSpec(kind="k-fold", folds=10, repeats=2)
    scores = simulated(Setting(design, 4000, (4.0, 4.0), "t4"), true, stream, seed)
    found = posterior(scores.memorization, scores.std_error, 2)
    for statistic in (STATISTICS["q50"], STATISTICS["q95"]):
        low, high = np.quantile(found.statistic(statistic), [0.025, 0.975])
        assert low < statistic(true) < high


def test_shrunk_scores_of_a_normal_prior_are_those_of_its_formula() -> None:
    """True scores N(3, 2^2) with noise of 1: the posterior mean is 3 + 4/5 (x - 3)."""
    stream = np.random.default_rng(0)
    x = stream.normal(3, 2, 3000) + stream.normal(size=3000)
    errors = np.sqrt(stream.chisquare(9, 3000) / 9)
    found = posterior(x, errors, 10)
    expected = 3 + 0.8 * (x - 3)
    assert np.sqrt(np.square(found.mean - expected).mean()) < 0.15
    width = (found.interval[1] - found.interval[0]).mean()
    assert width == pytest.approx(2 * 1.96 * np.sqrt(0.8), rel=0.1)
    above = stats.norm.sf(2, expected, np.sqrt(0.8))
    assert np.abs(found.exceeding(2) - above).mean() < 0.03


def test_exact_scores_are_the_true_ones() -> None:
    x = np.array([3.0, -1.0, 0.5])
    found = posterior(x, np.zeros(3), 0)
    assert found.mean.tolist() == x.tolist()
    assert [end.tolist() for end in found.interval] == [x.tolist()] * 2


def test_true_scores_are_the_same_for_the_same_scores() -> None:
    x = np.random.default_rng(0).normal(size=50)
    first, second = (posterior(x, np.ones(50), 3) for _ in range(2))
    assert (first.draws == second.draws).all()
    assert not (first.draws[0] == first.draws[1]).all()


def test_a_score_without_an_error_gets_the_typical_one() -> None:
    x, errors = np.random.default_rng(0).normal(size=(2, 80))
    errors = np.abs(errors)
    errors[7] = np.nan
    typical = np.where(np.isnan(errors), np.nanmedian(errors), errors)
    assert (posterior(x, errors, 3).draws == posterior(x, typical, 3).draws).all()
    assert np.isnan(score_intervals(x, errors, 3)[0]).nonzero()[0].tolist() == [7]
    with pytest.raises(ValueError, match="no score has a standard error"):
        posterior(x, np.full(80, np.nan), 3)


def test_intervals_of_known_errors_are_normal() -> None:
    low, high = score_intervals(np.zeros(2), np.array([1.0, 2.0]), blocks=0)
    assert high.tolist() == pytest.approx([1.95996, 3.91993], abs=1e-4)
    assert (low == -high).all()


def test_weights_of_a_mixture_are_those_of_highest_likelihood() -> None:
    """Two components that do not overlap: the weights are the counts."""
    likelihood = np.repeat(np.eye(2), [30, 70], axis=0)
    assert fitted_weights(likelihood).tolist() == pytest.approx([0.3, 0.7])
    rows = np.r_[np.full(30, 2.0), np.full(70, 1.0)]
    assert fitted_weights(likelihood, rows / rows.sum()).tolist() == pytest.approx(
        [60 / 130, 70 / 130]
    )


def fitted_noise(x: np.ndarray, errors: np.ndarray, cells: np.ndarray) -> Noise:
    """Noise of scores whose errors have two degrees of freedom; true scores may be in any cell."""
    scores = alike(x, errors, cells)
    counts, shares = scores.count(np.ones(len(x))), np.eye(2 * len(cells))
    start = first_noise(scores, counts, 2, cells), np.full(len(shares), 1 / len(shares))
    return fit_noise(scores, counts, shares, start)[0]


@pytest.mark.parametrize("growth", [np.inf, 10.0])
def test_the_level_of_the_noise_is_found(growth: float) -> None:
    """Noise of 1 + M / growth at a true score of M."""
    stream = np.random.default_rng(1)
    true = stream.exponential(5, 4000)
    scale = 1 + true / growth
    x = true + scale * stream.normal(size=4000)
    errors = scale * np.sqrt(stream.chisquare(2, 4000) / 2)
    cells = np.linspace(-5, 50, 111)
    noise = fitted_noise(x, errors, cells)
    for at in (0.0, 5.0, 15.0):
        found = np.exp(np.interp(at, cells, noise.log_level) / 2)
        assert found == pytest.approx(1 + at / growth, rel=0.15)
    assert noise.prior_freedom > 15


@pytest.mark.parametrize("prior", [6.0, np.inf])
def test_densities_of_scores_are_integrals_over_their_variance(prior: float) -> None:
    """By quadrature; under noise that goes by its level, and under noise of its own."""
    x, errors, cells = np.array([1.0, -2.0]), np.array([0.5, 2.0]), np.linspace(-4, 4, 9)
    noise = Noise(cells, np.full(9, np.log(1.5)), 2, prior, np.log(8.0))
    log_v = np.linspace(-12, 16, 20001)
    v = np.exp(log_v)[:, None, None]
    given_v = (
        stats.norm.pdf(x[:, None], cells, np.sqrt(v))
        * stats.chi2.pdf(2 * np.square(errors)[:, None] / v, 2)
        * (2 / v)
    )
    expected = []
    for level, d0 in ((1.5, prior), (8.0, OWN_FREEDOM)):
        if np.isinf(d0):
            root = np.sqrt(level)
            own = stats.norm.pdf(x[:, None], cells, root)
            expected.append(
                own * stats.chi2.pdf(2 * np.square(errors) / level, 2)[:, None] * 2 / level
            )
            continue
        of_v = stats.invgamma.pdf(v, d0 / 2, scale=d0 * level / 2)
        expected.append(np.trapezoid(given_v * of_v * v, log_v, axis=0))
    expected = np.hstack(expected)
    found = noise.likelihood(x, np.square(errors))
    assert np.allclose(found, expected / expected.max(1, keepdims=True), rtol=1e-5)


def odd_records(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True scores, scores and errors of three repeats: 2% of records are memorized, and odd.

    As in a table of 944 records, with means and spreads that 24 repeats show there.
    """
    stream = np.random.default_rng(seed)
    odd = np.arange(944) < 19
    true = np.where(odd, stream.normal(2.3, 1, 944), stream.exponential(0.15, 944))
    spread = np.where(odd, 6 * np.exp(stream.normal(0, 0.3, 944)), 0.4 + true)
    by_repeat = true + spread * stream.normal(size=(3, 944))
    return true, by_repeat.mean(0), by_repeat.std(0, ddof=1) / np.sqrt(3)


def test_records_with_noise_of_their_own_are_shrunk_with_their_like() -> None:
    """By noise that goes by the true score alone, the highest seem 1.7 times what they are."""
    found, known, held, apart = [], [], [], 0
    for seed in range(6):
        true, scores, errors = odd_records(seed)
        shrunk = posterior(scores, errors, 3)
        highest = np.argsort(-shrunk.mean)[:15]
        found.append(shrunk.mean[highest].mean())
        known.append(true[highest].mean())
        low, high = shrunk.interval
        held.append(((low <= true) & (true <= high))[highest].mean())
        of_scores = score_intervals(scores, errors, 3)
        apart += ((low > of_scores[1]) | (high < of_scores[0])).sum()
    assert np.mean(found) < 1.5 * np.mean(known)
    assert np.mean(held) > 0.85
    assert apart <= 1


def test_few_small_errors_do_not_decide_the_noise_of_high_scores() -> None:
    """One of the largest scores has next to no error by chance, as two repeats may agree."""
    stream = np.random.default_rng(4)
    true = stream.exponential(5, 500)
    x, errors = true + 3 * stream.normal(size=500), 3 * np.sqrt(stream.chisquare(2, 500) / 2)
    errors[np.argsort(x)[-5:]] = 1e-3
    cells = np.linspace(-15, 60, 151)
    level = np.exp(np.interp(20.0, cells, fitted_noise(x, errors, cells).log_level) / 2)
    assert level > 1


def test_bins_hold_the_moments_of_their_observations() -> None:
    stream = np.random.default_rng(6)
    x, errors = stream.normal(size=300), stream.uniform(0.1, 2, 300)
    scores = alike(x, errors, np.linspace(-3, 3, 7))
    rows = stream.exponential(size=300)
    for place in np.unique(scores.place):
        inside = scores.place == place
        logs = np.log(np.square(errors[inside]))
        assert scores.memorization[place] == pytest.approx(x[inside].mean())
        assert scores.variance[place] == pytest.approx(np.square(errors[inside]).mean())
        assert scores.log_variance[place] == pytest.approx(logs.mean())
        assert scores.within[place] == pytest.approx(logs.var(), abs=1e-12)
        assert scores.count(rows)[place] == pytest.approx(rows[inside].sum())


def test_steps_of_the_level_are_those_of_the_likelihood() -> None:
    """The slope of log p over the log level, by differences, over Fisher's information."""
    x, variance, cells = np.array([0.3, 2.0]), np.array([0.5, 4.0]), np.array([-1.0, 0.0, 2.0])
    for d, prior, information in ((2.0, np.inf, 1.5), (2.0, 6.0, 3 * 6 / (2 * (3 + 6 + 2)))):
        squares = np.square(x[:, None] - cells) + d * variance[:, None]

        def log_p(log_level: float, squares: np.ndarray = squares, prior: float = prior) -> float:
            if np.isinf(prior):
                return -squares / np.exp(log_level) / 2 - 1.5 * log_level
            total = prior * np.exp(log_level) + squares
            return prior / 2 * log_level - (prior + 3) / 2 * np.log(total)

        slope = (log_p(0.2 + 1e-5) - log_p(0.2 - 1e-5)) / 2e-5
        steps = Noise(cells, np.full(3, 0.2), d, prior, 0.0).steps(x, variance)
        assert np.allclose(steps, slope / information, atol=1e-6)


def test_natural_splines_are_those_of_interpolation() -> None:
    knots = np.array([-2.0, 0.0, 3.0, 4.0, 7.0])
    values = np.array([1.0, -1.0, 2.0, 0.5, 3.0])
    weights = np.linalg.solve(natural_spline(knots, knots), values)
    between = np.linspace(-2, 7, 50)
    expected = interpolate.CubicSpline(knots, values, bc_type="natural")(between)
    assert np.allclose(natural_spline(between, knots) @ weights, expected)
    beyond = natural_spline(np.array([-5.0, -4.0, -3.0, 8.0, 9.0, 10.0]), knots)
    for first, second, third in (beyond[:3], beyond[3:]):
        assert np.allclose(second - first, third - second)


def test_standard_errors_follow_a_trend() -> None:
    stream = np.random.default_rng(2)
    along = stream.exponential(5, 5000)
    truth = 1 + along / 5
    errors = truth * np.sqrt(stream.chisquare(1, 5000))
    moderated, freedom = moderated_std_error(errors, 1, along)
    assert freedom.min() > 20
    assert np.abs(np.log(moderated / truth)).mean() < 0.1
    flat, _ = moderated_std_error(errors, 1)
    assert np.abs(np.log(flat / truth)).mean() > 0.25


def test_errors_far_above_their_trend_stay_as_they_are() -> None:
    """A low score about which repeats disagree gets an interval as wide as they say."""
    stream = np.random.default_rng(5)
    x = stream.normal(size=1000)
    errors = np.sqrt(stream.chisquare(2, 1000) / 2)
    plain, freedom = moderated_std_error(errors, 2, x)
    assert freedom.min() > 15
    assert np.ptp(np.log(plain)) < np.ptp(np.log(errors)) / 3
    odd = np.argmin(x)
    errors[odd] = 6.0
    moderated, freedom = moderated_std_error(errors, 2, x)
    others = np.delete(np.arange(1000), odd)
    assert (moderated[odd], freedom[odd]) == pytest.approx((6.0, 2.0))
    assert freedom[others].min() > 15
    assert np.abs(np.log(moderated / plain))[others].max() < 0.1
    _, high = score_intervals(x, errors, 3)
    assert high[odd] - x[odd] == pytest.approx(stats.t.ppf(0.975, 2) * 6)


def test_tables_hold_what_is_known_of_true_scores() -> None:
    stream = np.random.default_rng(3)
    n, models = 60, 20
    rank = np.argsort(stream.random((2, 10, n)), axis=1).reshape(models, n)
    in_training = rank > 0
    log_p = np.where(in_training, 0, -stream.exponential(5, n)) + stream.normal(size=(models, n))
    aggregate = memorization_scores(
        log_p, 0 * log_p, in_training, np.repeat([0, 1], 10), "mean-log"
    )
    names = pl.DataFrame({"index": range(n), "id": [f"r{i}" for i in range(n)], "label": "u"})
    scores = with_true_scores(
        Scores.from_aggregate(names, 1, aggregate, np.zeros(n, np.int64)), threshold=2.0
    )
    draws = posterior(aggregate.memorization, aggregate.std_error, 2)
    assert scores.column("memorization_shrunk").tolist() == draws.mean.tolist()
    assert scores.column("above_threshold").tolist() == draws.exceeding(2.0).tolist()
    stored, computed = summarize(scores), summarize(Scores(scores.table, {"threshold": "2.0"}))
    assert stored == computed
    assert stored.threshold == 2.0
    assert stored.above_threshold.low < stored.above_threshold.value < stored.above_threshold.high


def test_scores_of_the_paper_have_no_intervals() -> None:
    log_p = np.random.default_rng(0).normal(size=(4, 30))
    in_training = np.repeat([[True], [False], [True], [False]], 30, axis=1)
    found = memorization_scores(log_p, 0 * log_p, in_training, np.array([0, 0, 1, 1]), "paper")
    names = pl.DataFrame({"index": range(30), "id": [f"r{i}" for i in range(30)], "label": "u"})
    scores = with_true_scores(Scores.from_aggregate(names, 1, found, np.zeros(30, np.int64)), 1.0)
    assert (
        scores.table["low"].null_count() == scores.table["memorization_shrunk"].null_count() == 30
    )
    assert all(e.low is None for e in summarize(scores).memorization.values())
    assert (scores.column("memorization") == scores.column("memorization_paper")).all()


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e4])
@pytest.mark.parametrize("n", [1, 2, 40])
@pytest.mark.filterwarnings("error")
def test_odd_scores_give_finite_true_ones(n: int, scale: float) -> None:
    """Errors that are rounding alone, or 0 of some, or of one observation far above the others."""
    rng = np.random.default_rng(n)
    in_training = np.arange(9)[:, None] % 3 != np.arange(n) % 3
    noise = scale * rng.normal(size=(9, n))
    lone = np.where(np.arange(9 * n).reshape(9, n) == 0, 1e6, 0.0)
    by_repeat = (scale * rng.normal(size=(3, n))).repeat(3, 0)
    for log_p in (noise, noise * (np.arange(n) % 2), noise - lone, by_repeat - 1000, 0 * noise):
        found = memorization_scores(
            log_p + 2 * in_training, 0 * log_p, in_training, np.arange(9) // 3, "mean-log"
        )
        names = {"index": np.arange(n), "id": [str(i) for i in range(n)], "label": ["u"] * n}
        scores = Scores.from_aggregate(pl.DataFrame(names), 1, found, np.zeros(n, np.int64))
        table = with_true_scores(scores, 1.0).table
        for column in ("low", "high", *SHRUNK):
            assert table[column].is_finite().all(), column
        assert (table["shrunk_low"] <= table["shrunk_high"]).all()
