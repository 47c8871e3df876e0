"""The decoder as a function of the latent variables, where a Gaussian has its mass.

Statistical linearization: for z = m + L u, u ~ N(0, I), the decoder f is replaced by its mean
E[f(z)], mean Jacobian E[df/du] and mean second derivatives E[d2f/du2] rather than by its value and
derivatives at m. Between the many linear pieces of a ReLU network the Jacobian at one point says
little about the pieces that the posterior really covers, and second derivatives at a point are
zero; their means say both (García-Fernández et al. 2015, Posterior linearization filter, IEEE TSP
63).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from memo.likelihood.decoding import perceptron, pieces, product, product_dtype
from memo.likelihood.proposals.latent_gaussian import Gaussian
from memo.models.protocols import LatentVariableModel


class HiddenLayer(NamedTuple):
    """A layer of rectified units a = relu(b), as a function of u."""

    jacobian: Tensor
    """E[db/du]: (n, d, H)."""

    first: Tensor
    """E[da/db], the probability that b > 0: (n, H)."""

    second: Tensor
    """E[d2a/db2], the density of b at 0: (n, H)."""

    weight: Tensor
    """Weights of the linear layer that reads the units, (features, H)."""


@dataclass(frozen=True)
class Linearization:
    """f(m + L u) as mean + jacobian^T u, for n Gaussians at once, and its second derivatives."""

    mean: Tensor
    """E[f(z)]: (n, P), the parameter axes made one."""

    jacobian: Tensor
    """E[df/du]: (n, d, P), in `product_dtype` where there are hidden layers."""

    hidden: tuple[HiddenLayer, ...] = ()
    """The hidden layers; empty where second derivatives are zero, or not known."""

    @property
    def std(self) -> Tensor:
        """Standard deviations of f(z) to first order: (n, P)."""
        return _std(self.jacobian).to(self.mean)

    def hessian(self, score: Tensor) -> Tensor:
        """sum_p score_p E[d2f_p / du du^T]: (n, P) -> (n, d, d).

        The sum over hidden layers of their second derivatives, with the score propagated back to
        the layer.
        """
        latent = self.jacobian.shape[1]
        total = score.new_zeros(len(score), latent, latent)
        for layer in reversed(self.hidden):
            dtype = layer.jacobian.dtype
            score = product(score, layer.weight.T, dtype)
            weighted = layer.jacobian * (score * layer.second).unsqueeze(1).to(dtype)
            total += weighted @ layer.jacobian.mT
            score = score * layer.first
        return total

    def gradient_correction(self, weighted: Tensor) -> Tensor:
        """E[d log p / du] less jacobian @ E[score], their covariance under the Gaussian: (n, d).

        To first order in u it is -sum_p F_p E[d2f_p / du du^T] E[df_p / du], F the Fisher
        information of the parameters.

        Args:
            weighted: jacobian * F, (n, d, P).
        """
        total = self.mean.new_zeros(weighted.shape[:2])
        for layer in reversed(self.hidden):
            dtype = layer.jacobian.dtype
            weighted = product(weighted, layer.weight.T, dtype)
            along = (layer.jacobian * weighted).sum(1, dtype=total.dtype) * layer.second
            total -= (layer.jacobian @ along.unsqueeze(-1).to(dtype)).squeeze(-1)
            weighted = weighted * layer.first.unsqueeze(1).to(dtype)
        return total


def is_affine(model: LatentVariableModel, like: Tensor) -> bool:
    """True for an affine decoder: f(a) + f(b) = f(a + b) + f(0) for draws a, and b = -a or any.

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


def linearize(model: LatentVariableModel, q: Gaussian) -> Linearization:
    """The model's decoder under each of n Gaussians: through its layers, or by `cubature`."""
    decoder = perceptron(model)
    if decoder is None:
        return cubature(model, q.mean, q.factor)
    return moment_propagation(decoder.layers, q.mean, q.factor)


def moment_propagation(layers: nn.Sequential, mean: Tensor, factor: Tensor) -> Linearization:
    """A perceptron under N(mean, factor factor^T), its pre-activations taken as Gaussian.

    For b ~ N(m, s^2): E[relu(b)] = m Phi(m / s) + s phi(m / s), E[relu'(b)] = Phi(m / s) (Frey &
    Hinton 1999, Variational learning in nonlinear Gaussian belief networks, section 4), and
    E[relu''(b)] = phi(m / s) / s. As the covariance goes to 0 the mean Jacobian becomes the
    Jacobian times the factor.

    Args:
        layers: Linear layers with rectified units between them.
        mean: (n, d).
        factor: (n, d, d).
    """
    first, *rest = (layer for layer in layers if isinstance(layer, nn.Linear))
    dtype = product_dtype(factor) if rest else factor.dtype
    mean, jacobian = first(mean), product(factor.mT, first.weight, dtype)
    hidden = []
    for linear in rest:
        std = _std(jacobian).to(mean).clamp_min(torch.finfo(mean.dtype).tiny ** 0.5)
        active = torch.special.ndtr(mean / std)
        density = torch.exp(-0.5 * (mean / std).square()) / math.sqrt(2 * math.pi)
        hidden.append(HiddenLayer(jacobian, active, density / std, linear.weight))
        mean = linear(mean * active + std * density)
        jacobian = product(jacobian * active.unsqueeze(1).to(dtype), linear.weight, dtype)
    return Linearization(mean, jacobian, tuple(hidden))


def _std(jacobian: Tensor) -> Tensor:
    """Standard deviations of jacobian^T u: (n, d, H) -> (n, H)."""
    return jacobian.square().sum(1).sqrt()


def cubature(model: LatentVariableModel, mean: Tensor, factor: Tensor) -> Linearization:
    """Mean and Jacobian of any decoder from its values at 2 d points, m +- sqrt(d) L e_i.

    The spherical-radial rule of degree 3 (Arasaratnam & Haykin 2009, Cubature Kalman filters, IEEE
    TAC 54): exact for linear decoders, and no derivatives are needed. It is for decoders that have
    none; `approximate_by_gradients` serves the others better.
    """
    count, latent = mean.shape
    radius = math.sqrt(latent)
    signs = mean.new_tensor([radius, -radius])[:, None, None]
    points = mean[:, None, None] + factor.mT.unsqueeze(1) * signs
    means, jacobians = [], []
    for rows in pieces(count, 2 * latent, model.decode(mean[:1]).numel(), mean.device):
        values = model.decode(points[rows]).flatten(3)
        means.append(values.mean((1, 2)))
        jacobians.append((values[:, 0] - values[:, 1]) / (2 * radius))
    return Linearization(torch.cat(means), torch.cat(jacobians))
