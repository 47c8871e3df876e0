"""The decoder as a function of the latent variables, where a Gaussian has its mass.

Statistical linearization: for z = m + L u, u ~ N(0, I), the decoder f is replaced by its mean
E[f(z)], mean slopes E[df/du] and mean curvature E[d2f/du2] rather than by its value and derivatives
at m. Between the many linear pieces of a ReLU network the Jacobian at one point says little about
the pieces that the posterior really covers, and there is no curvature at a point at all; the mean
slopes and curvature do (García-Fernández et al. 2015, Posterior linearization filter, IEEE TSP 63).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from memo.likelihood.decoding import bfloat16_is_fast, pieces
from memo.models.networks import MLPDecoder
from memo.models.protocols import LatentVariableModel

__all__ = [
    "Linearization",
    "cubature",
    "curvature_is_known",
    "is_affine",
    "linearize",
    "moment_propagation",
    "moments_are_known",
]


class Rectified(NamedTuple):
    """A layer of rectified units a = relu(b), as a function of u."""

    slopes: Tensor
    """E[db/du]: (n, d, H)."""

    active: Tensor
    """P(b > 0): (n, H)."""

    kinks: Tensor
    """E[d2a/db2], the density of b at 0: (n, H)."""

    weight: Tensor
    """Of the linear layer that reads the units, (features, H)."""


@dataclass(frozen=True)
class Linearization:
    """f(m + L u) as mean + slopes^T u, for n Gaussians at once; and how it bends."""

    mean: Tensor
    """E[f(z)]: (n, P), the parameter axes made one."""

    slopes: Tensor
    """E[df/du]: (n, d, P); rounded to bfloat16 where that is fast and the decoder not affine."""

    hidden: tuple[Rectified, ...] = ()
    """The hidden layers; empty where the curvature is zero, or not known."""

    @property
    def std(self) -> Tensor:
        """Standard deviations of f(z) to first order: (n, P)."""
        return _norms(self.slopes).to(self.mean)

    def curvature(self, score: Tensor) -> Tensor:
        """sum_p score_p E[d2f_p / du du^T]: (n, P) -> (n, d, d).

        That of each hidden layer's kinks, as seen from the score by way of the layers behind it.
        """
        latent = self.slopes.shape[1]
        total = score.new_zeros(len(score), latent, latent)
        for layer in reversed(self.hidden):
            score = _product(score, layer.weight.T, layer.slopes.dtype)
            bent = layer.slopes * (score * layer.kinks).unsqueeze(1).to(layer.slopes.dtype)
            total += bent @ layer.slopes.mT
            score = score * layer.active
        return total

    def score_correction(self, weighted: Tensor) -> Tensor:
        """E[grad_u log p] less slopes @ E[score]: how slopes and score vary together, (n, d).

        To first order in u it is -sum_p F_p E[d2f_p / du du^T] E[df_p / du], F the Fisher
        information of the parameters.

        Args:
            weighted: slopes * F, (n, d, P).
        """
        total = self.mean.new_zeros(weighted.shape[:2])
        for layer in reversed(self.hidden):
            weighted = _product(weighted, layer.weight.T, layer.slopes.dtype)
            along = (layer.slopes * weighted).sum(1, dtype=total.dtype) * layer.kinks
            total -= (layer.slopes @ along.unsqueeze(-1).to(weighted.dtype)).squeeze(-1)
            weighted = weighted * layer.active.unsqueeze(1).to(weighted.dtype)
        return total


def is_affine(model: LatentVariableModel, like: Tensor) -> bool:
    """Whether the decoder is affine: f(a) + f(b) = f(a + b) + f(0) for draws a, and b = -a or any.

    Posteriors then have one mode, and are Gaussian if the observation model is.

    Args:
        model: The latent-variable model.
        like: A tensor of the type, and on the device, of latent variables.
    """
    draws = 3 * torch.randn(2, 4, model.latent, generator=torch.Generator().manual_seed(0)).to(like)
    a, b = torch.cat([draws[0], draws[0]]), torch.cat([-draws[0], draws[1]])
    left = model.decode(a) + model.decode(b)
    right = model.decode(a + b) + model.decode(torch.zeros_like(a))
    rounding = 100 * torch.finfo(like.dtype).eps * left.abs().max().clamp(min=1)
    return bool((left - right).abs().max() < rounding)


def linearize(model: LatentVariableModel, mean: Tensor, factor: Tensor) -> Linearization:
    """The model's decoder under N(mean, factor factor^T): mean (n, d), factor (n, d, d)."""
    decoder = getattr(model, "decoder", None)
    if isinstance(decoder, MLPDecoder):
        return moment_propagation(decoder.layers, mean, factor)
    return cubature(model, mean, factor)


def moments_are_known(model: LatentVariableModel) -> bool:
    """Whether `linearize` has the decoder's moments in closed form."""
    return isinstance(getattr(model, "decoder", None), MLPDecoder)


def curvature_is_known(model: LatentVariableModel) -> bool:
    """Whether `linearize` says how the decoder bends, and it does."""
    decoder = getattr(model, "decoder", None)
    return isinstance(decoder, MLPDecoder) and _bends(decoder.layers)


def _bends(layers: nn.Module) -> bool:
    return any(isinstance(layer, nn.ReLU) for layer in layers.children())


def moment_propagation(layers: nn.Module, mean: Tensor, factor: Tensor) -> Linearization:
    """Through linear and ReLU layers, the pre-activations taken as Gaussian.

    For b ~ N(m, s^2): E[relu(b)] = m Phi(m / s) + s phi(m / s), E[relu'(b)] = Phi(m / s) (Frey &
    Hinton 1999, Variational learning in nonlinear Gaussian belief networks, section 4), and
    E[relu''(b)] = phi(m / s) / s. As the covariance goes to 0 the slopes become the Jacobian times
    the factor.
    """
    slopes = factor.mT
    dtype = _dtype_of_slopes(factor) if _bends(layers) else factor.dtype
    hidden: list[tuple[Tensor, Tensor, Tensor]] = []
    read_by: list[Tensor] = []
    for layer in layers.children():
        if isinstance(layer, nn.Linear):
            mean, slopes = layer(mean), _product(slopes, layer.weight, dtype)
            read_by.append(layer.weight)
        elif isinstance(layer, nn.ReLU):
            std = _norms(slopes).to(mean)
            std = std.clamp_min(torch.finfo(mean.dtype).tiny ** 0.5)
            active = torch.special.ndtr(mean / std)
            density = torch.exp(-0.5 * (mean / std).square()) / math.sqrt(2 * math.pi)
            hidden.append((slopes, active, density / std))
            mean = mean * active + std * density
            slopes = slopes * active.unsqueeze(1).to(dtype)
        else:
            raise TypeError(f"no moment propagation through {type(layer).__name__}")
    rectified = (Rectified(*h, w) for h, w in zip(hidden, read_by[1:], strict=True))
    return Linearization(mean, slopes, tuple(rectified))


def _dtype_of_slopes(like: Tensor) -> torch.dtype:
    """bfloat16 in place of float32, where that is fast.

    Slopes only shape a proposal, whose importance weights are computed in full precision: they may
    be wrong by a part in 256. Measured on MNIST: half the time and the same sample sizes.
    """
    fast = like.dtype == torch.float32 and bfloat16_is_fast(like.device.type)
    return torch.bfloat16 if fast else like.dtype


def _norms(slopes: Tensor) -> Tensor:
    """Of the columns: (n, d, H) -> (n, H)."""
    return slopes.square().sum(1).sqrt()


def _product(values: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """values @ weight^T, computed in `dtype`."""
    return values.to(dtype) @ weight.T.to(dtype)


def cubature(model: LatentVariableModel, mean: Tensor, factor: Tensor) -> Linearization:
    """Mean and slopes of any decoder from its values at 2 d points, m +- sqrt(d) L e_i.

    The spherical-radial rule of degree 3 (Arasaratnam & Haykin 2009, Cubature Kalman filters, IEEE
    TAC 54): exact for linear decoders, and no derivatives are needed. For decoders that have none;
    `gradients.approximate` serves the others better.
    """
    count, latent = mean.shape
    offsets = (
        math.sqrt(latent) * factor.mT.unsqueeze(1) * mean.new_tensor([1.0, -1.0])[:, None, None]
    )
    points = mean[:, None, None] + offsets
    means, slopes = [], []
    pixels = model.decode(mean[:1]).numel()
    for rows in pieces(count, 2 * latent, pixels, mean.device):
        values = model.decode(points[rows]).flatten(3)
        means.append(values.mean((1, 2)))
        slopes.append((values[:, 0] - values[:, 1]) / (2 * math.sqrt(latent)))
    return Linearization(torch.cat(means), torch.cat(slopes))
