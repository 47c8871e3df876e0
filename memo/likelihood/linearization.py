"""The decoder as a linear function of the latent variables, where a Gaussian has its mass.

Statistical linearization: for z = m + L u, u ~ N(0, I), the decoder f is replaced by its mean
E[f(z)] and mean slopes E[df/du] rather than by its value and Jacobian at m. Between the many
linear pieces of a ReLU network the Jacobian at one point says little about the pieces that the
posterior really covers; the mean slopes do, and importance samples drawn with them are worth
about twice as much (García-Fernández et al. 2015, Posterior linearization filter, IEEE TSP 63).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from memo.likelihood.decoding import pieces
from memo.models import LatentVariableModel
from memo.models.networks import MLPDecoder

__all__ = ["Linearization", "cubature", "linearize", "moment_propagation"]


@dataclass(frozen=True)
class Linearization:
    """f(m + L u) as mean + slopes^T u, for n Gaussians at once."""

    mean: Tensor
    """E[f(z)]: (n, P), the parameter axes made one."""

    slopes: Tensor
    """E[df/du]: (n, d, P)."""


def linearize(model: LatentVariableModel, mean: Tensor, factor: Tensor) -> Linearization:
    """The model's decoder under N(mean, factor factor^T): mean (n, d), factor (n, d, d)."""
    decoder = getattr(model, "decoder", None)
    if isinstance(decoder, MLPDecoder):
        return moment_propagation(decoder.layers, mean, factor)
    return cubature(model, mean, factor)


def moment_propagation(layers: nn.Module, mean: Tensor, factor: Tensor) -> Linearization:
    """Mean and slopes through linear and ReLU layers, the pre-activations taken as Gaussian.

    For a ~ N(m, s^2): E[relu(a)] = m Phi(m / s) + s phi(m / s) and E[relu'(a)] = Phi(m / s)
    (Frey & Hinton 1999, Variational learning in nonlinear Gaussian belief networks, section 4).
    As the covariance goes to 0 the slopes become the Jacobian times the factor.
    """
    slopes = factor.mT
    for layer in layers.children():
        if isinstance(layer, nn.Linear):
            mean, slopes = layer(mean), slopes @ layer.weight.T
        elif isinstance(layer, nn.ReLU):
            mean, slopes = _rectified(mean, slopes)
        else:
            raise TypeError(f"no moment propagation through {type(layer).__name__}")
    return Linearization(mean, slopes)


def _rectified(mean: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    std = slopes.square().sum(1).sqrt().clamp_min(torch.finfo(mean.dtype).tiny ** 0.5)
    ratio = mean / std
    active = torch.special.ndtr(ratio)
    density = torch.exp(-0.5 * ratio.square()) / math.sqrt(2 * math.pi)
    return mean * active + std * density, slopes * active.unsqueeze(1)


def cubature(model: LatentVariableModel, mean: Tensor, factor: Tensor) -> Linearization:
    """Mean and slopes of any decoder from its values at 2 d points, m +- sqrt(d) L e_i.

    The spherical-radial rule of degree 3 (Arasaratnam & Haykin 2009, Cubature Kalman filters, IEEE
    TAC 54): exact for linear decoders, and no derivatives are needed.
    """
    count, latent = mean.shape
    offsets = (
        math.sqrt(latent) * factor.mT.unsqueeze(1) * mean.new_tensor([1.0, -1.0])[:, None, None]
    )
    points = mean[:, None, None] + offsets
    means, slopes = [], []
    pixels = model.decode(mean[:1]).numel()
    for rows in pieces(count, 2 * latent * pixels, mean.device):
        values = model.decode(points[rows]).flatten(3)
        means.append(values.mean((1, 2)))
        slopes.append((values[:, 0] - values[:, 1]) / (2 * math.sqrt(latent)))
    return Linearization(torch.cat(means), torch.cat(slopes))
