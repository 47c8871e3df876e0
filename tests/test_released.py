"""Densities that are released in place of single models, with known answers."""

import numpy as np
import pytest
import torch

from memo.mitigations.release import Densities, released_scores
from memo.mitigations.released.background import (
    Mixture,
    fitted_weight,
    mixed_log_likelihood,
    mixture_bound,
)
from memo.mitigations.released.ensemble import Ensemble, ensemble_scores
from memo.models.frequencies import Frequencies
from memo.scores.aggregate import memorization_scores

REPEATS, FOLDS, N = 4, 5, 200


@pytest.fixture(scope="module")
def design() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-likelihoods in which being trained on adds 0 to 6 nats; training sets; repeats."""
    rng = np.random.default_rng(0)
    held_out = np.zeros((REPEATS * FOLDS, N), bool)
    for repeat in range(REPEATS):
        fold = rng.permutation(N) % FOLDS
        held_out[repeat * FOLDS + fold, np.arange(N)] = True
    gain = rng.uniform(0, 6, N)
    base = rng.normal(-30, 5, N)
    log_p = base + gain * ~held_out + rng.normal(0, 0.5, held_out.shape)
    return log_p, ~held_out, np.repeat(np.arange(REPEATS), FOLDS)


def test_the_ensembles_density_is_the_mean_of_its_members(design) -> None:
    """`paper`: U of the ensemble is the log of the plain mean over all members of all repeats."""
    log_p, inside, block = design
    error = np.zeros_like(log_p)
    single = memorization_scores(log_p, error, inside, block, "paper")
    scores = ensemble_scores(single, log_p, inside, FOLDS)
    released = np.exp(log_p).reshape(REPEATS, FOLDS, N).mean(1)
    assert np.allclose(scores.log_p_in, np.log(released.mean(0)))
    assert np.allclose(scores.log_p_out, single.log_p_out)
    assert np.allclose(scores.memorization, scores.log_p_in - scores.log_p_out)
    assert np.allclose(scores.mean_log_likelihood_in, np.log(released).mean(0))
    assert (scores.mean_log_likelihood_out >= single.mean_log_likelihood_out).all()  # Jensen


@pytest.mark.parametrize("method", ["paper", "mean-log"])
def test_the_ensembles_jackknife_and_bounds(design, method) -> None:
    log_p, inside, block = design
    error = np.full_like(log_p, 0.1)
    single = memorization_scores(log_p, error, inside, block, method)
    scores = ensemble_scores(single, log_p, inside, FOLDS)
    for left_out in range(REPEATS):
        keep = block != left_out
        rest = memorization_scores(log_p[keep], error[keep], inside[keep], block[keep], method)
        again = ensemble_scores(rest, log_p[keep], inside[keep], FOLDS)
        assert np.allclose(scores.without_block[left_out], again.memorization)
    assert (scores.memorization >= -np.log(FOLDS)).all()
    positive = single.memorization > 0
    assert (scores.memorization[positive] < single.memorization[positive]).all()
    step = 1e-5  # the estimator's part by a numerical derivative
    moved = ensemble_scores(
        memorization_scores(log_p + step * inside, error, inside, block, method),
        log_p + step * inside,
        inside,
        FOLDS,
    )
    slope = (moved.memorization - scores.memorization) / step
    assert np.allclose(scores.estimator_std_error, slope * single.estimator_std_error, rtol=1e-3)


def broad(design, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    log_p = design[0]
    return log_p.mean(0) - rng.uniform(2, 12, N) + rng.normal(0, 0.05, log_p.shape)


@pytest.mark.parametrize("weight", [0.001, 0.1, 0.9])
@pytest.mark.parametrize("method", ["paper", "mean-log"])
def test_no_score_of_a_mixture_is_above_its_bound(design, method, weight) -> None:
    log_p, inside, block = design
    exact = np.zeros_like(log_p)
    background = broad(design)
    mixed, _ = mixed_log_likelihood(log_p, exact, background, weight)
    assert np.allclose(np.exp(mixed), (1 - weight) * np.exp(log_p) + weight * np.exp(background))
    scores = memorization_scores(mixed, exact, inside, block, method)
    alone = memorization_scores(background, exact, inside, block, method)
    bound = mixture_bound(scores, alone, weight)
    assert (scores.memorization <= bound + 1e-12).all()
    if method == "paper":  # the bound from the model's and the broad density's own terms
        model = memorization_scores(log_p, exact, inside, block, method)
        terms = np.log1p(-weight) + model.log_p_in, np.log(weight) + alone.log_p_in
        own = np.logaddexp(*terms) - np.log(weight) - alone.log_p_out
        assert np.allclose(bound, own)
        highest = np.maximum(model.memorization, alone.memorization)
        assert (scores.memorization <= highest + 1e-9).all()


def test_however_much_is_memorized_a_mixture_of_probabilities_stays_below(design) -> None:
    """A model that gives what it was trained on probability 1, and the rest e^-500."""
    _, inside, block = design
    log_p = np.where(inside, 0.0, -500.0)
    background = np.minimum(broad(design), 0.0)
    mixed, _ = mixed_log_likelihood(log_p, np.zeros_like(log_p), background, 0.01)
    scores = memorization_scores(mixed, np.zeros_like(log_p), inside, block, "paper")
    alone = memorization_scores(background, np.zeros_like(log_p), inside, block, "paper")
    assert (scores.memorization <= -np.log(0.01) - alone.log_p_out).all()
    assert scores.memorization.max() < 60


def test_the_standard_error_of_a_mixture_is_the_delta_method(design) -> None:
    log_p, _, _ = design
    background = broad(design)
    error = np.full_like(log_p, 0.3)
    low, high = (mixed_log_likelihood(log_p + d, error, background, 0.3)[0] for d in (-1e-5, 1e-5))
    _, found = mixed_log_likelihood(log_p, error, background, 0.3)
    assert np.allclose(found, 0.3 * (high - low) / 2e-5, rtol=1e-4, atol=1e-8)


def test_the_fitted_weight_is_the_one_of_a_sample_from_the_mixture() -> None:
    rng = np.random.default_rng(0)
    broad_one = rng.random(40_000) < 0.2
    x = np.where(broad_one, rng.normal(0, 3, 40_000), rng.normal(0, 1, 40_000))
    log_p = -(x**2) / 2
    background = -(x**2) / 18 - np.log(3)
    held_out = np.ones((1, 40_000), bool)
    assert fitted_weight(log_p[None], background[None], held_out) == pytest.approx(0.2, abs=0.02)
    assert fitted_weight(log_p[None], log_p[None] - 50, held_out) < 1e-5


@pytest.mark.parametrize("levels", [2, 3])
def test_frequencies_are_a_density_with_laplaces_rule(levels) -> None:
    x = torch.randint(levels, (30, 1, 2, 2), generator=torch.Generator().manual_seed(0))
    density = Frequencies((1, 2, 2), levels)
    density.fit(x.float())
    every = torch.cartesian_prod(*[torch.arange(levels)] * 4).reshape(-1, 1, 2, 2).float()
    assert float(density.log_prob(every).exp().sum()) == pytest.approx(1)
    share = (x[:, 0, 0, 0] == 1).sum() + 1
    first = every[(every[:, 0, 0, 0] == 1)]
    assert float(density.log_prob(first).exp().sum()) == pytest.approx(float(share) / (30 + levels))


def test_a_mixture_is_scored_like_any_density(design) -> None:
    """With a weight near 0 the scores are the model's; near 1, the broad density's."""
    log_p, inside, block = design
    exact = np.zeros_like(log_p)
    background = broad(design)
    for weight, density in ((1e-12, log_p), (1 - 1e-12, background)):
        mixed, _ = mixed_log_likelihood(log_p, exact, background, weight)
        a, b = (memorization_scores(m, exact, inside, block, "paper") for m in (mixed, density))
        assert np.allclose(a.memorization, b.memorization, atol=1e-4)


def test_an_ensemble_of_mixtures_is_mixed_first(design) -> None:
    """And the bound is that of the single mixtures."""
    log_p, inside, block = design
    error, background = np.full_like(log_p, 0.1), broad(design)
    trained = Densities(log_p, error, ~inside, block, "mean-log")
    scores, facts = released_scores([Mixture(0.1, background), Ensemble(FOLDS)], trained)
    mixed, mixed_error = mixed_log_likelihood(log_p, error, background, 0.1)
    single = memorization_scores(mixed, mixed_error, inside, block, "mean-log")
    expected = ensemble_scores(single, mixed, inside, FOLDS)
    assert np.array_equal(scores.memorization, expected.memorization)
    alone = memorization_scores(background, np.zeros_like(error), inside, block, "mean-log")
    largest = mixture_bound(single, alone, 0.1).max()
    assert facts == {"weight": 0.1, "largest_bound": largest}
