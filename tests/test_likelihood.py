"""Estimates of log p(x) against closed forms and quadrature."""

import numpy as np
import pytest
import torch

from memo.likelihood import decoding
from memo.likelihood.estimate import estimate_log_likelihood
from memo.spec.scoring_specs import AdaptiveSpec, ImportanceSpec
from tests.likelihood_models import (
    Convolutional,
    LinearGaussian,
    Perceptron,
    TwoModes,
    draw,
    quadrature,
)

ADAPTIVE = AdaptiveSpec(kind="adaptive")


def importance(samples):
    return ImportanceSpec(kind="importance", samples=samples)


def z_scores(estimate, truth):
    """Errors of log p over standard errors, with the delta method's bias taken out."""
    error = estimate.value - truth.numpy() + estimate.std_error**2 / 2
    return error / estimate.std_error


class Exact(torch.nn.Module):
    def log_prob(self, x):
        return -x.square().sum(-1)


def test_an_exact_density_has_no_error():
    estimate = estimate_log_likelihood(Exact(), torch.ones(3, 2), ADAPTIVE, seed=0)
    assert estimate.value.tolist() == [-2.0] * 3
    assert estimate.std_error.tolist() == estimate.pareto_k.tolist() == [0.0] * 3
    assert estimate.samples.dtype == np.int64
    assert estimate.samples.tolist() == [0] * 3


def test_other_models_are_refused():
    with pytest.raises(TypeError, match="Linear is no Density"):
        estimate_log_likelihood(torch.nn.Linear(1, 1), torch.ones(1, 1), ADAPTIVE, seed=0)


def test_encoder_importance_is_calibrated_on_a_linear_gaussian_model():
    model = LinearGaussian(pixels=6, latent=2, std=0.7, dtype=torch.float64)
    x = model.marginal().sample((1000,))
    estimate = estimate_log_likelihood(model, x, importance(1000), seed=1)
    scores = z_scores(estimate, model.marginal().log_prob(x))
    assert np.mean(np.abs(scores) < 3) >= 0.99
    assert scores.std() == pytest.approx(1, abs=0.1)
    assert (estimate.pareto_k < 0.7).mean() > 0.95
    assert (estimate.samples == 1000).all()


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_the_adaptive_proposal_is_exact_on_linear_gaussian_models(dtype, error):
    model = LinearGaussian(pixels=20, latent=8, std=0.5, dtype=dtype)
    x = model.marginal().sample((100,))
    estimate = estimate_log_likelihood(model, x, ADAPTIVE, seed=0)
    exact = LinearGaussian(pixels=20, latent=8, std=0.5, dtype=torch.float64)
    truth = exact.marginal().log_prob(x.double())
    assert np.abs(estimate.value - truth.numpy()).max() < error
    assert estimate.std_error.max() < error
    assert (estimate.effective_sample_size > 31.99).all()
    assert (estimate.pareto_k == 0).all()


@pytest.mark.parametrize(
    "model", [Perceptron(12, 3.0), Perceptron(12, 3.0, latent=2), Convolutional()]
)
def test_adaptive_estimates_agree_with_quadrature(model):
    x = draw(model, 64, seed=0)
    estimate = estimate_log_likelihood(model, x, ADAPTIVE, seed=0)
    error = estimate.value - quadrature(model, x).numpy()
    assert np.sqrt(np.mean(error**2)) < 0.6 * ADAPTIVE.tolerance
    assert np.abs(error).max() < 3 * ADAPTIVE.tolerance
    assert np.mean(estimate.std_error <= ADAPTIVE.tolerance) > 0.95
    assert np.median(estimate.std_error) < 0.6 * ADAPTIVE.tolerance


@pytest.mark.parametrize("max_samples", [32, 700])
def test_the_mean_of_p_hat_is_p(max_samples):
    """A thousand estimates of one p(x); the second case adds components to the proposal."""
    model = Perceptron(12, 6.0)
    x = draw(model, 1, seed=3).expand(1000, -1)
    spec = AdaptiveSpec(kind="adaptive", tolerance=1e-9, max_samples=max_samples)
    ratio = np.exp(
        estimate_log_likelihood(model, x, spec, seed=0).value - quadrature(model, x[:1]).item()
    )
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / 1000**0.5


def test_standard_errors_have_the_spread_of_the_estimates():
    model = Perceptron(30, 5.0, latent=2)
    x = draw(model, 8, seed=0).repeat_interleave(64, 0)
    spec = AdaptiveSpec(kind="adaptive", tolerance=1e-9, max_samples=4000)
    estimate = estimate_log_likelihood(model, x, spec, seed=0)
    scores = z_scores(estimate, quadrature(model, x[::64]).repeat_interleave(64))
    assert scores.std() == pytest.approx(1, abs=0.1)
    assert abs(scores.mean()) < 4 / len(scores) ** 0.5


def test_both_modes_of_a_posterior_are_found():
    """The encoder's Gaussian covers one mode; draws from the prior lead to the other."""
    model = TwoModes(10)
    x = draw(model, 64, seed=0)
    spec = AdaptiveSpec(kind="adaptive", tolerance=0.005, max_samples=20_000)
    estimate = estimate_log_likelihood(model, x, spec, seed=0)
    error = estimate.value - quadrature(model, x).numpy()
    assert np.mean(np.abs(error) < 0.1) > 0.95


def test_a_proposal_that_misses_mass_is_flagged():
    model = Perceptron(12, 3.0)
    model.encoder_std = 0.1
    x = draw(model, 16, seed=0)
    estimate = estimate_log_likelihood(model, x, importance(4000), seed=0)
    assert (estimate.pareto_k > 0.7).mean() > 0.8
    assert (estimate.effective_sample_size < 0.1 * 4000).all()


def test_what_is_not_settled_says_so():
    model = Perceptron(12, 3.0)
    x = draw(model, 100, seed=0)
    spec = AdaptiveSpec(kind="adaptive", tolerance=1e-4, max_samples=500)
    estimate = estimate_log_likelihood(model, x, spec, seed=0)
    unsettled = estimate.std_error > spec.tolerance
    assert unsettled.any()
    assert (estimate.samples[unsettled] > 250).all()
    assert (estimate.samples <= 500).all()
    assert np.isfinite(estimate.pareto_k).all()


def test_draws_depend_on_seed_and_position_alone(monkeypatch):
    model = Perceptron(12, 3.0, latent=2)
    x = draw(model, 150, seed=0)
    estimate = estimate_log_likelihood(model, x, ADAPTIVE, seed=5)
    again = estimate_log_likelihood(model, x, ADAPTIVE, seed=5)
    assert np.array_equal(estimate.value, again.value)
    assert not np.array_equal(
        estimate.value, estimate_log_likelihood(model, x, ADAPTIVE, seed=6).value
    )
    monkeypatch.setattr(decoding, "CACHE_FLOATS", 100)
    others = torch.cat([x[:70], 1 - x[70:90]])
    pieces = estimate_log_likelihood(model, others, ADAPTIVE, seed=5)
    np.testing.assert_allclose(pieces.value[:70], estimate.value[:70], rtol=0, atol=1e-3)
    assert np.array_equal(pieces.samples[:70], estimate.samples[:70])
