"""The check of estimates by annealed importance sampling."""

import numpy as np
import pytest

from memo.likelihood.calibration import compare_to_reference
from memo.likelihood.estimate import estimate_log_likelihood
from memo.likelihood.estimators.annealed import annealed_log_likelihood
from memo.likelihood.importance_weights import LogLikelihood, concatenate
from memo.spec.scoring_specs import AdaptiveSpec, ImportanceSpec
from tests.likelihood_models import Perceptron, draw, quadrature


@pytest.fixture(scope="module")
def model():
    return Perceptron(20, 5.0, latent=2)


@pytest.fixture(scope="module")
def x(model):
    return draw(model, 60, seed=0)


@pytest.fixture(scope="module")
def in_training():
    return np.arange(60) < 30


@pytest.fixture(scope="module")
def reference(model, x):
    return annealed_log_likelihood(model, x, temperatures=50, chains=32, seed=1)


def test_annealing_agrees_with_quadrature(model, x, reference):
    error = reference.value - quadrature(model, x).numpy()
    assert np.abs((error + reference.std_error**2 / 2) / reference.std_error).max() < 5
    assert np.abs(error.mean()) < 0.05


def test_good_estimates_pass(model, x, reference, in_training):
    spec = AdaptiveSpec(kind="adaptive", tolerance=0.1)
    check = compare_to_reference(estimate_log_likelihood(model, x, spec, 0), reference, in_training)
    for group in (check.in_training, check.held_out):
        assert group.observations == 30
        assert abs(group.bias) < 3 * group.bias_std_error + 0.02
        assert group.z_std < 1.5
    assert abs(check.bias_difference) < 3 * check.bias_difference_std_error + 0.02


def test_a_biased_estimator_is_found(model, x, reference, in_training):
    spec = ImportanceSpec(kind="importance", samples=2)
    estimates = [estimate_log_likelihood(model, x, spec, seed) for seed in range(8)]
    check = compare_to_reference(
        concatenate(estimates), concatenate([reference] * 8), np.tile(in_training, 8)
    )
    assert check.in_training.bias < -3 * check.in_training.bias_std_error
    assert check.held_out.bias < -3 * check.held_out.bias_std_error


def test_bias_of_one_group_is_that_groups(in_training):
    def estimates(value):
        error = np.full(60, 0.1)
        return LogLikelihood(value, error, error, np.ones(60, dtype=np.int64), error)

    noise = 0.1 * np.random.default_rng(0).standard_normal(60)
    shifted = estimates(noise + 0.5 * ~in_training)
    check = compare_to_reference(shifted, estimates(np.zeros(60)), in_training)
    assert check.held_out.bias == pytest.approx(0.5, abs=0.06)
    assert check.bias_difference == pytest.approx(-0.5, abs=0.08)
    assert check.held_out.z_mean == pytest.approx(0.5 / (0.1 * 2**0.5), abs=0.6)
    z = np.abs(shifted.value / (0.1 * 2**0.5))
    for group, member in ((check.in_training, in_training), (check.held_out, ~in_training)):
        assert group.covered == (z[member] <= 1.96).mean()
    assert check.in_training.covered > 0.9
    assert check.held_out.covered < 0.3


def test_a_check_needs_both_groups(reference):
    with pytest.raises(ValueError, match="two held out"):
        compare_to_reference(reference, reference, np.ones(60, bool))
