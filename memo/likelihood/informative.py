"""The pixels that say something of z, where the others are all but certain whatever it is.

A black border has nearly the same probability under every z. Proposals can do without such pixels;
and of draws, one that is drawn again by its weight tells what they contribute to all:

    E_s[p(others | z_s)] = sum_s w_s p(others | z_s) / sum_s w_s     for s drawn by the weights w_s,

so that the mean weight times that one factor has the mean of all weights with the others in them.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from memo.likelihood.decoding import rounded_decoding
from memo.models.networks import MLPDecoder
from memo.models.observations.bernoulli import Bernoulli
from memo.models.protocols import LatentVariableModel, ObservationModel

__all__ = ["Informative", "factor_of_others", "informative"]

CERTAIN = 1e-3
"""Probability of the other value below which a pixel is left out."""

PRIOR_DRAWS = 256
"""Draws from the prior at which it has to be, beside the encoder's means."""

MULTIPLE = 64
"""Products of matrices are fastest where so many pixels, or a multiple of them, are left."""

WORTHWHILE = 7 / 8
"""Share of the pixels that may be left for the rest to be worth leaving out.

Measured on MNIST (1,024 pixels, of which 640 are left in blocks of 600): scoring takes four fifths
of the time, with the same bias and scatter.
"""


class Informative(NamedTuple):
    """A model of some of the pixels, and the observations at those."""

    model: LatentVariableModel
    x: Tensor
    others: Callable[[Tensor], Tensor] | None
    """log p(the other pixels | z), which have the same values in all observations: (..., d) ->
    (...), nats; None where there are none."""


def informative(model: LatentVariableModel, x: Tensor, bank: Tensor) -> Informative:
    """What is left of a model of binary pixels by an MLP, for these observations; else all of it.

    Left out are pixels that have one value in all observations, and a probability of the other
    below `CERTAIN` at the encoder's means and draws from the prior.

    Args:
        model: The latent-variable model.
        x: Observations, (n, *shape).
        bank: Draws from the prior, (J, d).
    """
    decoder = getattr(model, "decoder", None)
    if not isinstance(decoder, MLPDecoder) or not isinstance(model.observation, Bernoulli):
        return Informative(model, x, None)
    means, _ = model.encode(x)
    z = torch.cat([means, bank[:PRIOR_DRAWS]])
    probability = torch.sigmoid(rounded_decoding(model, z)(z)).flatten(1)
    values = x.flatten(1)
    value = values[0]
    unlike = torch.where(value > 0, 1 - probability, probability).amax(0)
    unlike = unlike.masked_fill((values != value).any(0), 1)
    unsure = int((~(unlike < CERTAIN)).sum())
    left = max(1, -(-unsure // MULTIPLE)) * MULTIPLE
    if left > WORTHWHILE * len(unlike):
        return Informative(model, x, None)
    order = unlike.argsort(descending=True, stable=True)
    pixels, others = order[:left].sort().values, order[left:].sort().values
    rest = _Part(model, decoder, value, others)

    def log_prob_of_others(z: Tensor) -> Tensor:
        return rest.observation.log_prob(value[others], rest.decode(z))

    return Informative(_Part(model, decoder, value, pixels), values[:, pixels], log_prob_of_others)


def factor_of_others(
    others: Callable[[Tensor], Tensor], z: Tensor, log_weights: Tensor, uniform: Tensor
) -> Tensor:
    """log p(other pixels | z) at one draw, chosen by its weight: (S, n, d), (S, n) -> (n,).

    Args:
        others: See `Informative`.
        z: Draws.
        log_weights: Theirs, without the other pixels.
        uniform: Draws between 0 and 1, (n,).
    """
    below = torch.softmax(log_weights, 0).cumsum(0) < uniform
    chosen = below.sum(0).clamp(max=len(z) - 1)
    return others(z[chosen, torch.arange(z.shape[1], device=z.device)])


class _Part(nn.Module):
    """A latent-variable model of some pixels; the others are known.

    Args:
        model: Of all pixels.
        decoder: Its decoder.
        value: Of every pixel, (P,); those of `pixels` are not looked at.
        pixels: Which ones, (P',).
    """

    def __init__(
        self, model: LatentVariableModel, decoder: MLPDecoder, value: Tensor, pixels: Tensor
    ) -> None:
        super().__init__()
        self.latent = model.latent
        self.decoder = decoder.of_outputs(pixels)
        self.observation: ObservationModel = Bernoulli((len(pixels),))
        self._whole, self._value, self._pixels = model, value, pixels

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The whole model's, of (B, P')."""
        whole = self._value.repeat(len(x), 1)
        whole[:, self._pixels] = x
        return self._whole.encode(whole.reshape(-1, *self._whole.observation.shape))

    def decode(self, z: Tensor) -> Tensor:
        """The logits of these pixels."""
        logits: Tensor = self.decoder(z)
        return logits
