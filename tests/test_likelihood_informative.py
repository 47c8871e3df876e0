"""Pixels that are left out: what is left is exact, and log p(x) is that of all of them."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from memo.likelihood.decoding import log_joint
from memo.likelihood.estimate import estimate_log_likelihood
from memo.likelihood.estimators.adaptive import adaptive_log_likelihood
from memo.likelihood.informative import factor_of_others, informative
from memo.likelihood.proposals.latent_gaussian import encoder_gaussian
from memo.models.networks import MLPDecoder
from memo.models.observations.bernoulli import Bernoulli
from memo.spec.scoring_specs import AdaptiveSpec
from tests.likelihood_models import Perceptron, draw, quadrature

BORDER, INNER = 200, 64


class Bordered(nn.Module):
    """64 pixels of a perceptron between two borders, one of which is dark and the other light."""

    def __init__(self, certainty: float, slope: float = 0.0) -> None:
        super().__init__()
        self.inner = Perceptron(INNER, 3.0, latent=2)
        self.latent = 2
        shape = (BORDER + INNER, 1)
        self.observation = Bernoulli(shape)
        self.decoder = MLPDecoder(2, [16], shape)
        first, _, last = self.decoder.layers
        inner_first, _, inner_last = self.inner.decoder.layers
        with torch.no_grad():
            first.load_state_dict(inner_first.state_dict())
            last.weight.fill_(slope)
            last.weight[BORDER // 2 : BORDER // 2 + INNER] = inner_last.weight
            last.bias[: BORDER // 2] = -certainty
            last.bias[BORDER // 2 + INNER :] = certainty
            last.bias[BORDER // 2 : BORDER // 2 + INNER] = inner_last.bias

    def whole(self, inner: Tensor) -> Tensor:
        dark = inner.new_zeros(len(inner), BORDER // 2)
        return torch.cat([dark, inner, 1 - dark], 1).unsqueeze(-1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner.encode(x.flatten(1)[:, BORDER // 2 :])

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)


BANK = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_what_is_left_and_what_is_left_out_make_the_whole_of_log_p():
    model = Bordered(certainty=8.0, slope=0.01)
    x = model.whole(draw(model.inner, 40, seed=0))
    left, some, others = informative(model, x, BANK)
    assert some.shape == (40, INNER)
    assert others is not None
    z = torch.randn(9, 40, 2, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        log_joint(left, some, z) + others(z), log_joint(model, x, z), rtol=0, atol=1e-3
    )
    assert others(z).abs().min() > 1e-3  # which the left pixels alone would miss
    for a, b in zip(left.encode(some), model.encode(x), strict=True):
        assert torch.equal(a, b)
    one, other = encoder_gaussian(left, some), encoder_gaussian(model, x)
    assert torch.equal(one.mean, other.mean)


@torch.no_grad()
def test_a_pixel_stays_where_an_observation_or_the_model_is_not_sure_of_it():
    model = Bordered(certainty=8.0)
    x = model.whole(draw(model.inner, 40, seed=0))
    x[3, 0] = 1  # against all odds
    some = informative(model, x, BANK).x
    assert some.shape == (40, 2 * INNER)  # a multiple
    assert torch.equal(some[:, 0], x[:, 0, 0])
    unsure = Bordered(certainty=6.0)  # p = 0.0025
    assert informative(unsure, x, BANK) == (unsure, x, None)
    sure = model.whole(torch.zeros(3, INNER))
    with torch.no_grad():
        model.decoder.layers[-1].weight.zero_()
        model.decoder.layers[-1].bias[BORDER // 2 : BORDER // 2 + INNER] = -20.0
    assert informative(model, sure, BANK).x.shape == (3, INNER)  # never none
    dark = Perceptron(40, 3.0)  # too few to be worth it
    assert informative(dark, draw(dark, 5, seed=0), BANK[:, :1])[0] is dark


@torch.no_grad()
def test_a_draw_by_its_weight_has_the_mean_of_all_weights():
    """E_s[f(z_s)] = sum_s w_s f(z_s) / sum_s w_s, over a hundred thousand draws of s."""
    generator = torch.Generator().manual_seed(0)
    count = 100_000
    z = torch.randn(6, 1, 1, generator=generator)
    log_weights = torch.randn(6, 1, generator=generator)
    factor = factor_of_others(
        lambda z: z[..., 0],
        z.expand(6, count, 1),
        log_weights.expand(6, count),
        torch.rand(count, generator=generator),
    )
    expected = (torch.softmax(log_weights, 0) * z[..., 0].exp()).sum()
    error = factor.exp().std() / math.sqrt(count)
    assert (factor.exp().mean() - expected).abs() < 4 * error
    ends = factor_of_others(
        lambda z: z[..., 0], z.expand(6, 2, 1), log_weights.expand(6, 2), torch.tensor([0.0, 1.0])
    )
    assert ends[0] == z[0, 0, 0]
    assert ends[1] == z[5, 0, 0]


@pytest.mark.parametrize("slope", [0.0, 0.02])
def test_log_p_is_that_of_all_pixels(slope):
    model = Bordered(certainty=7.5, slope=slope)
    x = model.whole(draw(model.inner, 100, seed=0))
    exact = quadrature(model, x).numpy()
    spec = AdaptiveSpec(kind="adaptive", tolerance=0.05, max_samples=1 << 15)
    found = estimate_log_likelihood(model, x, spec, seed=0)
    with torch.no_grad():
        others = informative(model, x, BANK).others
        assert others is not None
        assert others(BANK).mean() < -0.025  # more than what is allowed below
    assert ((found.value - exact) / found.std_error).std() < 1.5
    assert abs((found.value - exact).mean()) < 0.02
    assert abs(found.value - exact).max() < 0.3


def test_the_factor_keeps_the_estimate_of_p_unbiased():
    """Over many estimates of one observation, whose border is far from certain under some z."""
    count = 400
    model = Bordered(certainty=7.0, slope=0.05)
    x = model.whole(draw(model.inner, 1, seed=0))
    with torch.no_grad():
        assert informative(model, x, BANK).others is not None
    exact = float(quadrature(model, x)[0])
    estimates = np.array(
        [adaptive_log_likelihood(model, x, 10.0, 32, seed).value[0] for seed in range(count)]
    )
    ratio = np.exp(estimates - exact)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / math.sqrt(count)
    assert 4 * ratio.std() / math.sqrt(count) < 0.1


def test_scoring_imports_no_compiler():
    script = """
import sys, torch
from memo.likelihood import estimate_log_likelihood
from memo.spec import AdaptiveSpec
from tests.test_likelihood_informative import BANK, Bordered, draw, informative
model = Bordered(certainty=9.0)
x = model.whole(draw(model.inner, 20, seed=0))
before = set(sys.modules)
with torch.no_grad():
    assert informative(model, x, BANK).others is not None
estimate_log_likelihood(model, x, AdaptiveSpec(kind="adaptive"), seed=0)
print(*{name for name in set(sys.modules) - before if name.startswith(("sympy", "torch._"))})
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
