"""Decoders of a model of one's own: log p(x) is that of `decode`, whatever `decoder` is."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from memo.likelihood.decoding import perceptron
from memo.likelihood.estimate import estimate_log_likelihood
from memo.models.networks import MLPDecoder
from memo.models.observations.bernoulli import Bernoulli
from memo.models.vae import VAE
from memo.spec.model_specs import VAESpec
from memo.spec.scoring_specs import AdaptiveSpec, ImportanceSpec

torch.set_num_threads(1)

PIXELS = 12


class Own(nn.Module):
    """One latent variable, binary pixels, and a memo decoder that is only a part of `decode`."""

    latent = 1

    def __init__(self, change):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.decoder = MLPDecoder(1, [8], (PIXELS,))
        with torch.no_grad():
            for parameter in self.decoder.parameters():
                parameter.mul_(3)
        self.observation = Bernoulli((PIXELS,))
        self.change = change

    def encode(self, x):
        mean = torch.zeros(len(x), 1)
        return mean, mean

    def decode(self, z):
        return self.change(self.decoder(z))


def by_quadrature(model: nn.Module, x: torch.Tensor) -> np.ndarray:
    """log of the integral of p(x | z) N(z; 0, 1) on a fine grid."""
    z = torch.linspace(-9, 9, 40_001)[:, None]
    with torch.no_grad():
        logits = model.decode(z).double()
    log_p = -(nn.functional.softplus(-logits) @ x.double().T)
    log_p -= nn.functional.softplus(logits) @ (1 - x.double()).T
    prior = -0.5 * z.double() ** 2 - 0.5 * math.log(2 * math.pi)
    return (torch.logsumexp(log_p + prior, 0) + math.log(18 / 40_000)).numpy()


CHANGES = {
    "shifted": lambda logits: logits + 2,
    "bounded": lambda logits: logits.clamp(-1, 1),
    "scaled": lambda logits: 0.25 * logits,
    "turned": lambda logits: logits.flip(-1),
    "nothing": lambda logits: logits,
}
SPECS = [
    AdaptiveSpec(kind="adaptive", tolerance=0.05),
    ImportanceSpec(kind="importance", samples=4000),
]


@pytest.mark.parametrize("spec", SPECS, ids=["adaptive", "importance"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_log_p_is_that_of_what_decode_computes(change, spec, monkeypatch) -> None:
    # processors that multiply bfloat16 fast take a path of their own
    monkeypatch.setattr("memo.likelihood.decoding._bfloat16_is_fast", lambda device: True)
    model = Own(change)
    x = (torch.rand(20, PIXELS, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    found = estimate_log_likelihood(model, x, spec, seed=3)
    assert np.abs(found.value - by_quadrature(model, x)).max() < 0.2


def test_layers_are_used_where_they_are_all_that_decode_computes() -> None:
    spec = VAESpec(kind="vae", network={"kind": "mlp", "hidden": [4]}, latent=2)
    model = VAE(spec, (3,))
    assert perceptron(model) is model.decoder

    class Scaled(VAE):
        def decode(self, z):
            return 2 * super().decode(z)

    class Wide(MLPDecoder):
        def forward(self, z):
            return 2 * super().forward(z)

    assert perceptron(Scaled(spec, (3,))) is None
    model.decoder = Wide(2, [4], (3,))
    assert perceptron(model) is None
    replaced = VAE(spec, (3,))
    replaced.decode = lambda z: -replaced.decoder(z)
    assert perceptron(replaced) is None
