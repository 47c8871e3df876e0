"""Estimates of log p(x) against closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from memo.likelihood.estimate import estimate_log_likelihood
from memo.likelihood.importance_weights import LogLikelihood, log_mean_exp
from memo.models.protocols import Density, is_latent_variable_model
from memo.spec.scoring_specs import ImportanceSpec

OBSERVATIONS, WIDTH, LATENT = 1000, 8, 3


class _UnitNormal(nn.Module):
    """x ~ N(parameters, 1), for observations of one axis."""

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        squares = (x - parameters).square().sum(-1)
        return -0.5 * (squares + x.shape[-1] * math.log(2 * math.pi))

    def fisher_information(self, parameters: Tensor) -> Tensor:
        return torch.ones_like(parameters)

    def sample(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        return parameters + torch.special.ndtri(uniform)


class LinearGaussian(nn.Module):
    """Probabilistic PCA (Tipping & Bishop 1999): x ~ N(b, W W' + I), known in closed form.

    The encoder has the posterior's mean and its standard deviations, a little too wide; it cannot
    have its correlations, as no encoder of a VAE can.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = np.random.default_rng(seed)
        self.weight = 0.6 * draw.normal(size=(WIDTH, LATENT))
        self.offset = draw.normal(size=WIDTH)
        self.covariance = self.weight @ self.weight.T + np.eye(WIDTH)
        self.posterior = np.linalg.inv(self.weight.T @ self.weight + np.eye(LATENT))
        self.latent = LATENT
        self.observation = _UnitNormal()

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = (x - self._tensor(self.offset)) @ self._tensor(self.weight @ self.posterior)
        std = self._tensor(1.2 * np.sqrt(np.diag(self.posterior)))
        return mean, std.log().expand_as(mean)

    def decode(self, z: Tensor) -> Tensor:
        return z @ self._tensor(self.weight.T) + self._tensor(self.offset)

    def log_density(self, x: np.ndarray) -> np.ndarray:
        return stats.multivariate_normal(self.offset, self.covariance).logpdf(x)

    @staticmethod
    def _tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).float()


@pytest.fixture(scope="module")
def model() -> LinearGaussian:
    return LinearGaussian(seed=0)


@pytest.fixture(scope="module")
def x(model: LinearGaussian) -> np.ndarray:
    draw = np.random.default_rng(1)
    return draw.multivariate_normal(model.offset, model.covariance, OBSERVATIONS)


def estimate(model: nn.Module, x: np.ndarray, samples: int, seed: int = 0) -> LogLikelihood:
    spec = ImportanceSpec(kind="importance", samples=samples)
    return estimate_log_likelihood(model, torch.from_numpy(x).float(), spec, seed)


def test_the_estimate_is_right_within_its_own_standard_errors(
    model: LinearGaussian, x: np.ndarray
) -> None:
    found = estimate(model, x, samples=1000)
    z = (found.value - model.log_density(x)) / found.std_error
    assert np.mean(np.abs(z) < 3) >= 0.99
    # 1,000 independent z-scores: spread 1 within 4 / sqrt(2000), mean 0 within 4 / sqrt(1000)
    assert z.std() == pytest.approx(1, abs=4 / math.sqrt(2 * OBSERVATIONS))
    assert abs(z.mean()) < 4 / math.sqrt(OBSERVATIONS)
    assert (found.std_error < 0.2).all()


def test_the_mean_weight_is_unbiased_with_few_samples(model: LinearGaussian, x: np.ndarray) -> None:
    """E[p-hat / p] = 1 whatever the number of samples (Owen 2013, section 9.1)."""
    ratios = np.stack(
        [
            np.exp(estimate(model, x[:50], samples=4, seed=seed).value - model.log_density(x[:50]))
            for seed in range(400)
        ]
    )
    error = ratios.std() / math.sqrt(ratios.size)
    assert abs(ratios.mean() - 1) < 4 * error


def test_effective_sample_size_and_error_by_hand() -> None:
    log_weights = torch.log(torch.tensor([[1.0, 2.0], [3.0, 2.0], [2.0, 2.0]]))
    value, std_error, effective = log_mean_exp(log_weights)
    assert value == pytest.approx(np.log([2, 2]))
    assert std_error == pytest.approx([1 / 2 / math.sqrt(3), 0], abs=1e-6)
    assert effective == pytest.approx([36 / 14, 3])


def test_weights_of_very_small_densities_do_not_underflow() -> None:
    value, _, effective = log_mean_exp(torch.full((4, 1), -1e5))
    assert value == pytest.approx([-1e5])
    assert effective == pytest.approx([4])


def test_estimates_are_a_function_of_the_seed(model: LinearGaussian, x: np.ndarray) -> None:
    first, again, other = (estimate(model, x[:20], 16, seed).value for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=1e-6)


def test_a_density_in_closed_form_is_exact() -> None:
    class Standard(nn.Module):
        def log_prob(self, x: Tensor) -> Tensor:
            return -0.5 * (x.square() + math.log(2 * math.pi)).sum(-1)

    model = Standard()
    assert isinstance(model, Density)
    x = np.random.default_rng(0).normal(size=(30, 4))
    found = estimate(model, x, 2)
    assert found.value == pytest.approx(stats.norm.logpdf(x).sum(1), rel=1e-5)
    assert (found.std_error == 0).all()


def test_a_model_that_fills_no_protocol_is_refused(model: LinearGaussian) -> None:
    assert is_latent_variable_model(model)
    with pytest.raises(TypeError, match="Linear is no Density, LatentVariableModel or Estimated"):
        estimate(nn.Linear(3, 2), np.zeros((2, 3)), 2)
