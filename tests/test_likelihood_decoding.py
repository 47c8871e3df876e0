"""log p(x, z) in pieces and in bfloat16, against the same in one piece and in float32."""

import math

import pytest
import torch

from memo.likelihood import decoding
from memo.likelihood.proposals.linearization import is_affine
from tests.likelihood_models import Convolutional, LinearGaussian, Perceptron, TwoModes, draw


@torch.no_grad()
@pytest.mark.parametrize("model", [Perceptron(300, 3.0, latent=4), Convolutional()])
def test_rounding_is_small_beside_the_spread_of_draws(model, monkeypatch):
    monkeypatch.setattr(decoding, "CACHE_FLOATS", 1000)
    x = draw(model, 5, seed=0)
    z = 0.3 * torch.randn(70, 5, model.latent, generator=torch.Generator().manual_seed(0))
    whole = model.observation.log_prob(x, model.decode(z)) - 0.5 * z.square().sum(-1)
    whole -= 0.5 * model.latent * math.log(2 * math.pi)
    error = decoding.log_joint(model, x, z) - whole
    assert error.square().mean().sqrt() < whole.std(0).mean() / 256
    assert error.mean().abs() < 0.01


@torch.no_grad()
def test_full_precision_is_kept_where_gradients_are_or_few_draws():
    model = Perceptron(300, 3.0, latent=4)
    x, z = draw(model, 5, seed=0), torch.zeros(2, 5, 4)
    whole = model.observation.log_prob(x, model.decode(z)) - 2 * math.log(2 * math.pi)
    torch.testing.assert_close(decoding.log_joint(model, x, z), whole, rtol=1e-6, atol=1e-4)


@torch.no_grad()
def test_affine_decoders_are_told_from_others():
    affine = LinearGaussian(pixels=5, latent=3, std=1.0, dtype=torch.float32)
    assert is_affine(affine, torch.zeros(1))
    for model in (Perceptron(5, 1.0), TwoModes(5), Convolutional()):
        assert not is_affine(model, torch.zeros(1))
