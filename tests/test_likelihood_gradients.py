"""Proposals from gradients, for decoders of which nothing else is known."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from memo.likelihood.estimate import estimate_log_likelihood
from memo.likelihood.estimators import adaptive
from memo.likelihood.estimators.chains import AnnealingPath, anneal
from memo.likelihood.proposals.gradients import approximate_by_gradients, has_gradient
from memo.likelihood.proposals.latent_gaussian import Gaussian, encoder_gaussian
from memo.models.networks import MLPDecoder
from memo.models.vae import VAE
from memo.spec.scoring_specs import AdaptiveSpec
from tests.likelihood_models import (
    Convolutional,
    LinearGaussian,
    TwoModes,
    draw,
    quadrature,
)


class Unlayered(nn.Module):
    """An affine decoder that is written as anything but layers that memo knows."""

    def __init__(self, linear: LinearGaussian, encoder_scale: float) -> None:
        super().__init__()
        self.latent, self.observation = linear.latent, linear.observation
        self.linear, self.encoder_scale = linear, encoder_scale

    def encode(self, x):
        mean, log_std = self.linear.encode(x)
        return mean + 1, log_std + math.log(self.encoder_scale)

    def decode(self, z):
        return torch.einsum("pd,...d->...p", self.linear.weight, z) + self.linear.bias


class Layered(Unlayered):
    """A linear map written as an MLP without hidden layers."""

    def __init__(self, linear: LinearGaussian, encoder_scale: float) -> None:
        super().__init__(linear, encoder_scale)
        self.decoder = MLPDecoder(linear.latent, [], linear.observation.shape)
        with torch.no_grad():
            self.decoder.layers[0].weight.copy_(linear.weight)
            self.decoder.layers[0].bias.copy_(linear.bias)
        self.to(linear.weight.dtype)

    decode = VAE.decode


class WithoutGradient(Convolutional):
    def decode(self, z):
        return torch.from_numpy(super().decode(z).detach().numpy())


@pytest.mark.parametrize("kind", [Unlayered, Layered])
@pytest.mark.parametrize("encoder_scale", [0.2, 1.0, 20.0])
def test_linear_gaussian_models_are_exact_however_the_decoder_is_written(kind, encoder_scale):
    linear = LinearGaussian(pixels=30, latent=8, std=0.3, dtype=torch.float32)
    x = linear.marginal().sample((50,))
    exact = LinearGaussian(pixels=30, latent=8, std=0.3, dtype=torch.float64).marginal()
    model = kind(linear, encoder_scale).requires_grad_(False)
    estimate = estimate_log_likelihood(model, x, AdaptiveSpec(kind="adaptive"), seed=0)
    assert np.abs(estimate.value - exact.log_prob(x.double()).numpy()).max() < 1e-4
    assert estimate.std_error.max() < 1e-4
    assert (estimate.samples == 32).all()


def moments(model, x):
    """Posterior mean and covariance by the trapezoid rule over two latent variables."""
    side = torch.linspace(-6, 6, 241, dtype=torch.float64)
    z = torch.cartesian_prod(side, side)
    with torch.no_grad():
        parameters = model.decode(z.float())
        likelihood = torch.stack([model.observation.log_prob(row, parameters) for row in x])
    weights = torch.softmax(likelihood.double() - 0.5 * z.square().sum(-1), 1)
    mean = weights @ z
    second = torch.einsum("nk,ki,kj->nij", weights, z, z)
    return mean, second - mean.unsqueeze(2) * mean.unsqueeze(1)


def test_the_gaussian_has_the_moments_of_a_gaussian_posterior():
    model = Convolutional()
    x = draw(model, 40, seed=0)
    with torch.no_grad():
        found = approximate_by_gradients(model, x, encoder_gaussian(model, x))
    mean, covariance = moments(model, x)
    spread = covariance.diagonal(dim1=1, dim2=2).sqrt()
    off = ((found.mean - mean) / spread).abs().amax(1)
    variances = (found.factor @ found.factor.mT).diagonal(dim1=1, dim2=2)
    ratio = (variances / spread.square()).log().abs().amax(1)
    assert off.median() < 0.15
    assert ratio.median() < 0.2


@pytest.mark.parametrize("temperatures", [2, 5])
def test_the_mean_weight_of_few_short_chains_is_p(temperatures):
    model = Convolutional().requires_grad_(False)
    x = draw(model, 2, seed=1)
    q = Gaussian(torch.zeros(2, 2), 1.5 * torch.eye(2).expand(2, 2, 2))
    generator = torch.Generator().manual_seed(0)
    shape = (4000, 2, 2)

    def draws(_):
        return torch.randn(shape, generator=generator), torch.rand(shape[:2], generator=generator)

    path = AnnealingPath(model, x, q, q.widened(0.2), leapfrog_steps=2)
    z = q.draw(torch.randn(shape, generator=generator))
    _, log_weights, _ = anneal(path, z, temperatures, torch.ones(2), draws)
    ratio = torch.exp(log_weights.double() - quadrature(model, x))
    error = ratio.std(0) / len(ratio) ** 0.5
    assert ((ratio.mean(0) - 1).abs() < 4 * error).all()
    assert (error < 0.1).all()


def test_the_mean_of_p_hat_is_p_through_all_stages(monkeypatch):
    """Stages of chains, a refined Gaussian and further ones; none can be precise enough here."""
    stages = [stage._replace(draws=4) for stage in adaptive.DRAWS_THEN_CHAINS[2:]]
    schedule = (*adaptive.DRAWS_THEN_CHAINS[:2], *stages)
    monkeypatch.setattr(adaptive, "DRAWS_THEN_CHAINS", schedule)
    monkeypatch.setattr(adaptive, "FEW_LATENTS", 0)
    model = Convolutional().requires_grad_(False)
    x = draw(model, 1, seed=3).expand(300, -1, -1, -1)
    spec = AdaptiveSpec(kind="adaptive", tolerance=1e-9, max_samples=512)
    estimate = estimate_log_likelihood(model, x, spec, seed=0)
    assert (estimate.samples > 384).all()
    ratio = np.exp(estimate.value - quadrature(model, x[:1]).item())
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / 300**0.5


def test_chains_bring_standard_errors_that_are_right(monkeypatch):
    monkeypatch.setattr(adaptive, "FEW_LATENTS", 0)
    model = Convolutional().requires_grad_(False)
    x = draw(model, 8, seed=0).repeat_interleave(25, 0)
    spec = AdaptiveSpec(kind="adaptive", tolerance=1e-9, max_samples=600)
    estimate = estimate_log_likelihood(model, x, spec, seed=0)
    error = estimate.value - quadrature(model, x[::25]).repeat_interleave(25).numpy()
    scores = (error + estimate.std_error**2 / 2) / estimate.std_error
    assert scores.std() == pytest.approx(1, abs=0.2)
    assert abs(scores.mean()) < 4 / len(scores) ** 0.5


def test_of_few_latents_draws_find_modes_that_chains_would_not(monkeypatch):
    """Chains take the evaluations of which some, as draws from the prior, lead to other modes."""
    model = TwoModes(10)
    x = draw(model, 200, seed=0)
    exact = quadrature(model, x).numpy()
    spec = AdaptiveSpec(kind="adaptive", tolerance=1e-9, max_samples=600)

    def error(few, seed):
        monkeypatch.setattr(adaptive, "FEW_LATENTS", few)
        estimate = estimate_log_likelihood(model, x, spec, seed=seed)
        return np.sqrt(np.mean((estimate.value - exact) ** 2))

    with_draws, with_chains = (np.mean([error(few, s) for s in range(3)]) for few in (4, 0))
    assert with_draws < 0.15
    assert with_draws < 0.7 * with_chains


def test_decoders_without_a_gradient_are_told_and_served():
    model = WithoutGradient()
    x = draw(model, 40, seed=0)
    assert not has_gradient(model, torch.zeros(40, 2))
    assert has_gradient(Convolutional(), torch.zeros(40, 2))
    estimate = estimate_log_likelihood(model, x, AdaptiveSpec(kind="adaptive"), seed=0)
    assert np.abs(estimate.value - quadrature(model, x).numpy()).max() < 1.2
