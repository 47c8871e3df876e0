"""Gaussians in the latent space, one for each of many observations."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from memo.models.protocols import LatentVariableModel


@dataclass(frozen=True)
class Gaussian:
    """N(mean, factor factor^T) for each of n observations: (n, d), (n, d, d).

    Draws are z = mean + factor u for standard normal u, the latent variables in units of the
    Gaussian.
    """

    mean: Tensor
    factor: Tensor

    def __getitem__(self, rows: Tensor | slice) -> "Gaussian":
        return Gaussian(self.mean[rows], self.factor[rows])

    def replaced(self, rows: Tensor | slice, other: "Gaussian") -> "Gaussian":
        """`other` in the chosen rows, these elsewhere."""
        mean, factor = self.mean.clone(), self.factor.clone()
        mean[rows], factor[rows] = other.mean, other.factor
        return Gaussian(mean, factor)

    def widened(self, scale: float) -> "Gaussian":
        """Widen it: the same means, with standard deviations `scale` times as large."""
        return Gaussian(self.mean, scale * self.factor)

    def draw(self, noise: Tensor) -> Tensor:
        """Standard normal draws -> draws: (S, n, d) -> (S, n, d)."""
        return self.mean + torch.einsum("nij,snj->sni", self.factor, noise)

    def gradient_in_units(self, gradient: Tensor) -> Tensor:
        """A gradient in z as the gradient in u: (S, n, d) -> (S, n, d)."""
        return torch.einsum("nij,sni->snj", self.factor, gradient)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density in nats: (S, n, d) -> (S, n)."""
        constant = 0.5 * self.mean.shape[-1] * math.log(2 * math.pi)
        return -0.5 * self.squared_distance(z) - self.log_volume - constant

    @property
    def log_volume(self) -> Tensor:
        """Logarithm of the product of the standard deviations along the principal axes, (n,)."""
        log_volume: Tensor = torch.linalg.slogdet(self.factor).logabsdet
        return log_volume

    def squared_distance(self, z: Tensor) -> Tensor:
        """Squared distance from the mean, in standard deviations: (S, n, d) -> (S, n)."""
        inverse = torch.linalg.inv(self.factor)
        return torch.einsum("nij,snj->sni", inverse, z - self.mean).square().sum(-1)


def encoder_gaussian(model: LatentVariableModel, x: Tensor) -> Gaussian:
    """q(z | x), the encoder's approximation of the posterior."""
    mean, log_std = model.encode(x)
    return Gaussian(mean, torch.diag_embed(torch.exp(log_std)))


def clip_length(steps: Tensor, longest: float) -> Tensor:
    """Steps (n, d), those longer than `longest` scaled to that length."""
    length: Tensor = steps.norm(dim=-1, keepdim=True)
    return steps * (longest / length).clamp(max=1)
