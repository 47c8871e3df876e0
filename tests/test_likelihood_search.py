"""Climbs to modes, and the search for others than the encoder's."""

import math

import pytest
import torch
from torch import nn

from memo.likelihood.decoding import bfloat16_is_fast, log_joint, rounded_decoding
from memo.likelihood.estimate import estimate_log_likelihood
from memo.likelihood.proposals.gradients import climbed
from memo.likelihood.proposals.latent_gaussian import Gaussian, encoder_gaussian
from memo.likelihood.proposals.modes import BANK, TRIAL_DRAWS, first_proposal
from memo.likelihood.proposals.posterior import _step
from memo.likelihood.streams import Streams
from memo.models.networks import MLPDecoder
from memo.models.observations.bernoulli import Bernoulli
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

    def decode(self, z):
        return self.decoder(z)


@torch.no_grad()
def proposal(model, x):
    generator = torch.Generator().manual_seed(0)
    bank = torch.randn(BANK, model.latent, generator=generator)
    noise = torch.randn(TRIAL_DRAWS, len(x), model.latent, generator=generator)
    return first_proposal(model, x, bank, noise)


@pytest.mark.parametrize("model", [Perceptron(40, 3.0, latent=2), Convolutional()])
def test_no_climb_leads_down(model):
    x = draw(model, 50, seed=0)
    with torch.no_grad():
        start = encoder_gaussian(model, x)
        before = log_joint(model, x, start.mean[None])[0]
    values = [before]
    for gradients in (1, 3, 10, 40):
        reached, value = climbed(model, x, start, gradients, rounded=False)
        torch.testing.assert_close(value, log_joint(model, x, reached.mean[None])[0])
        assert (value >= values[-1] - 1e-4).all()
        values.append(value)
    assert (values[-1] > before + 1).any()


def test_climbs_end_within_a_nat_of_the_mode():
    model = LinearGaussian(pixels=30, latent=6, std=0.3, dtype=torch.float64)
    x = model.marginal().sample((40,))
    start = encoder_gaussian(model, x)
    start.mean.add_(torch.randn(start.mean.shape, generator=torch.Generator().manual_seed(0)))
    reached, value = climbed(model, x, start, 40, rounded=False)
    precision = torch.eye(6) + model.weight.T @ model.weight / 0.3**2
    mode = torch.linalg.solve(precision, (x - model.bias) @ model.weight / 0.3**2, left=False)
    highest = log_joint(model, x, mode[None])[0]
    assert (log_joint(model, x, start.mean[None])[0] < highest - 20).any()
    assert (value > highest - 1).all()
    assert (value <= highest + 1e-9).all()
    torch.testing.assert_close(reached.factor, start.factor)


def test_climbs_that_come_to_a_known_mode_end_there_and_others_do_not_notice():
    model = Perceptron(40, 3.0, latent=2)
    x = draw(model, 50, seed=0)
    with torch.no_grad():
        start = encoder_gaussian(model, x)
        free, height = climbed(model, x, start, 40, rounded=False)
        ended, lower = climbed(model, x, start, 40, known=free.mean, rounded=False)
        far, as_high = climbed(model, x, start, 40, known=free.mean + 100, rounded=False)
        near = Gaussian(free.mean, start.factor).squared_distance(ended.mean[None])[0]
    assert (near < 2).all()  # sqrt(d) units
    assert (lower <= height + 1e-4).all()
    assert (lower < height - 0.01).sum() > 10  # they go no further
    assert torch.equal(far.mean, free.mean)
    assert torch.equal(as_high, height)


def test_steps_from_a_climb_are_no_longer_than_allowed():
    """Else one observation in thousands ends far from where its climb led."""
    model = Perceptron(40, 6.0, latent=2)
    x = draw(model, 50, seed=0)
    with torch.no_grad():
        q = encoder_gaussian(model, x)
        free, short = (_step(model, x, q, longest, refined=False) for longest in (math.inf, 0.5))
    free_u, short_u = (
        torch.linalg.solve(q.factor, step.mean.unsqueeze(-1)).squeeze(-1) for step in (free, short)
    )
    assert (free_u.norm(dim=1) > 1).any()
    length = free_u.norm(dim=1, keepdim=True)
    torch.testing.assert_close(short_u, free_u * (0.5 / length).clamp(max=1))
    torch.testing.assert_close(short.length, free.length)  # it still says that more are needed


def test_rounded_products_change_little():
    model = Perceptron(600, 3.0, latent=2)
    z = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    exact, rounded = model.decode(z), rounded_decoding(model, z)(z)
    assert rounded.dtype == torch.float32
    assert (exact - rounded).abs().max() < 0.02 * exact.abs().max()
    assert not torch.equal(exact, rounded) or not bfloat16_is_fast("cpu")
    assert rounded_decoding(model, z.double()) == model.decode


def test_a_higher_mode_than_the_encoders_gets_the_mass():
    model, x = TwoHills(here=-0.85, there=3.0), torch.ones(3, 40)
    first, *others = proposal(model, x).components
    assert float(first.mean[0]) == pytest.approx(1, abs=0.2)
    assert [float(other.mean[0]) for other in others] == pytest.approx([-2] * len(others), abs=0.3)
    assert proposal(model, x).shares[0, 1:].sum() > 0.8
    estimate = estimate_log_likelihood(model, x, AdaptiveSpec(kind="adaptive"), seed=0)
    assert estimate.value == pytest.approx(quadrature(model, x).numpy(), abs=0.4)


@pytest.mark.parametrize("there", [-3.0, -2.0])
def test_modes_without_a_part_of_the_mass_are_left_out(there):
    """The second hill is no hill, or lies more than ten nats lower."""
    assert len(proposal(TwoHills(here=-0.85, there=there), torch.ones(3, 40)).components) == 1


def test_only_observations_that_are_explained_poorly_get_more():
    model = TwoHills(here=-0.85, there=3.0)
    expected = torch.zeros(40)
    expected[:12] = 1  # three tenths, as the first hill has it
    found = proposal(model, torch.stack([torch.ones(40), expected]))
    assert found.shares[1].tolist() == [1.0, *[0.0] * (len(found.components) - 1)]
    assert found.shares[0, 0] < 0.2


def test_what_a_block_shares_does_not_depend_on_who_asks():
    streams = Streams(seed=3, first=2)
    draws = streams.shared(torch.randn, (5, 2), (0, 1, 0))
    assert draws.shape == (5, 2)
    assert torch.equal(draws, streams.shared(torch.randn, (5, 2), (0, 1, 0)))
    for other in (Streams(3, 3), Streams(4, 2)):
        assert not torch.equal(draws, other.shared(torch.randn, (5, 2), (0, 1, 0)))
