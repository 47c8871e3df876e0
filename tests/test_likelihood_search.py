"""Climbs to modes, and the search for others than the encoder's."""

import math

import pytest
import torch
from torch import nn

from memo.likelihood.decoding import log_joint
from memo.likelihood.estimate import estimate_log_likelihood
from memo.likelihood.proposals import linearization, posterior
from memo.likelihood.proposals.gradients import climb
from memo.likelihood.proposals.latent_gaussian import Gaussian, encoder_gaussian
from memo.likelihood.proposals.modes import PRIOR_DRAWS, first_proposal
from memo.likelihood.streams import Streams
from memo.models.networks import MLPDecoder
from memo.models.observations.bernoulli import Bernoulli
from memo.models.vae import VAE
from memo.spec.scoring_specs import AdaptiveSpec
from tests.likelihood_models import Convolutional, LinearGaussian, Perceptron, draw, quadrature


class TwoHills(nn.Module):
    """Forty binary pixels of one logit, a piecewise linear function of z.

    It has a hill at z = 1, which the encoder knows, a valley at -0.5, and another hill at -2.
    """

    def __init__(self, here: float, there: float) -> None:
        super().__init__()
        self.latent = 1
        self.observation = Bernoulli((40,))
        self.decoder = MLPDecoder(1, [4], (40,))
        valley = -3.0
        up, down = (here - valley) / 1.5, (there - valley) / 1.5
        first, _, last = self.decoder.layers
        with torch.no_grad():
            first.weight.copy_(torch.tensor([[1.0], [1.0], [-1.0], [-1.0]]))
            first.bias.copy_(torch.tensor([0.5, -1.0, -0.5, -2.0]))
            last.weight.copy_(torch.tensor([up, -2 * up, down, -2 * down]).expand(40, 4))
            last.bias.fill_(valley)

    def encode(self, x):
        mean = torch.ones(len(x), 1)
        return mean, torch.full_like(mean, math.log(0.1))

    decode = VAE.decode


@torch.no_grad()
def proposal(model, x):
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(PRIOR_DRAWS, model.latent, generator=generator)
    return first_proposal(model, x, draws)


@pytest.mark.parametrize("model", [Perceptron(40, 3.0, latent=2), Convolutional()])
def test_no_climb_leads_down(model):
    x = draw(model, 50, seed=0)
    with torch.no_grad():
        start = encoder_gaussian(model, x)
        before = log_joint(model, x, start.mean[None])[0]
    values = [before]
    for gradients in (1, 3, 10, 40):
        reached, value = climb(model, x, start, gradients)
        torch.testing.assert_close(value, log_joint(model, x, reached.mean[None])[0])
        assert (value >= values[-1] - 1e-4).all()
        values.append(value)
    assert (values[-1] > before + 1).any()


def test_climbs_end_within_a_nat_of_the_mode():
    model = LinearGaussian(pixels=30, latent=6, std=0.3, dtype=torch.float64)
    x = model.marginal().sample((40,))
    start = encoder_gaussian(model, x)
    start.mean.add_(torch.randn(start.mean.shape, generator=torch.Generator().manual_seed(0)))
    reached, value = climb(model, x, start, 40)
    precision = torch.eye(6) + model.weight.T @ model.weight / 0.3**2
    mode = torch.linalg.solve(precision, (x - model.bias) @ model.weight / 0.3**2, left=False)
    highest = log_joint(model, x, mode[None])[0]
    assert (log_joint(model, x, start.mean[None])[0] < highest - 20).any()
    assert (value > highest - 1).all()
    assert (value <= highest + 1e-9).all()
    torch.testing.assert_close(reached.factor, start.factor)


def test_steps_are_no_longer_than_allowed(monkeypatch):
    """Else one observation in thousands ends far from where its climb led."""
    model = Perceptron(40, 6.0, latent=2)
    x = draw(model, 50, seed=0)

    def step(longest):
        monkeypatch.setattr(posterior, "LONGEST_STEP", longest)
        with torch.no_grad():
            q = encoder_gaussian(model, x)
            moved, length = posterior._newton_step(model, x, q)
            offset = (moved.mean - q.mean).unsqueeze(-1)
            return torch.linalg.solve(q.factor, offset).squeeze(-1), length

    (free, length), (short, still) = step(math.inf), step(0.5)
    norm = free.norm(dim=1, keepdim=True)
    assert (norm > 1).any()
    torch.testing.assert_close(short, free * (0.5 * math.sqrt(2) / norm).clamp(max=1))
    torch.testing.assert_close(still, length)  # it still says that more are needed


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_no_step_is_taken_where_rounding_leaves_no_covariance(monkeypatch, dtype):
    """A Gaussian that is a thousand times as wide in one direction as in the others."""
    monkeypatch.setattr(linearization, "product_dtype", lambda like: dtype)
    model = Perceptron(40, 6.0, latent=4)
    x = draw(model, 200, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        q = encoder_gaussian(model, x)
        along, into = torch.randn(2, len(x), 4, generator=generator)
        factor = along.unsqueeze(2) * into.unsqueeze(1) + 1e-3 * torch.eye(4)
        moved, length = posterior._newton_step(model, x, Gaussian(q.mean, factor))
    stays = (moved.factor == factor).all((1, 2))
    assert 0 < stays.sum() < len(x)
    assert (moved.mean == q.mean).all(1)[stays].all()
    assert (length[stays] == 0).all()
    assert moved.mean.isfinite().all() and moved.factor.isfinite().all()


def test_a_higher_mode_than_the_encoders_gets_the_mass():
    model, x = TwoHills(here=-0.85, there=3.0), torch.ones(3, 40)
    first, *others = proposal(model, x).gaussians
    assert float(first.mean[0]) == pytest.approx(1, abs=0.2)
    assert [float(other.mean[0]) for other in others] == pytest.approx([-2] * len(others), abs=0.3)
    assert proposal(model, x).shares[0, 1:].sum() > 0.8
    estimate = estimate_log_likelihood(model, x, AdaptiveSpec(kind="adaptive"), seed=0)
    assert estimate.value == pytest.approx(quadrature(model, x).numpy(), abs=0.4)


@pytest.mark.parametrize("there", [-3.0, -2.0])
def test_modes_without_a_part_of_the_mass_are_left_out(there):
    """The second hill is no hill, or lies more than ten nats lower."""
    assert len(proposal(TwoHills(here=-0.85, there=there), torch.ones(3, 40)).gaussians) == 1


def test_only_observations_that_are_explained_poorly_get_more():
    model = TwoHills(here=-0.85, there=3.0)
    expected = torch.zeros(40)
    expected[:12] = 1  # three tenths, as the first hill has it
    found = proposal(model, torch.stack([torch.ones(40), expected]))
    assert found.shares[1].tolist() == [1.0, *[0.0] * (len(found.gaussians) - 1)]
    assert found.shares[0, 0] < 0.2


def test_what_a_block_shares_does_not_depend_on_who_asks():
    streams = Streams(seed=3, first=2)
    draws = streams.shared(torch.randn, (5, 2), (0, 1, 0))
    assert draws.shape == (5, 2)
    assert torch.equal(draws, streams.shared(torch.randn, (5, 2), (0, 1, 0)))
    for other in (Streams(3, 3), Streams(4, 2)):
        assert not torch.equal(draws, other.shared(torch.randn, (5, 2), (0, 1, 0)))
