"""Gaussians in the latent space, one for each of many observations."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from memo.models.protocols import LatentVariableModel

__all__ = ["Gaussian", "encoder_gaussian", "shortened"]


@dataclass(frozen=True)
class Gaussian:
    """N(mean, factor factor^T) for each of n observations: (n, d), (n, d, d)."""

    mean: Tensor
    factor: Tensor

    def __getitem__(self, rows: Tensor | slice) -> "Gaussian":
        return Gaussian(self.mean[rows], self.factor[rows])

    def clone(self) -> "Gaussian":
        return Gaussian(self.mean.clone(), self.factor.clone())

    def replaced(self, rows: Tensor, other: "Gaussian") -> "Gaussian":
        """`other` in the chosen rows, these elsewhere."""
        result = self.clone()
        result.mean[rows], result.factor[rows] = other.mean, other.factor
        return result

    def draw(self, noise: Tensor) -> Tensor:
        """Standard normal draws -> draws: (S, n, d) -> (S, n, d)."""
        return self.mean + torch.einsum("nij,snj->sni", self.factor, noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """(S, n, d) -> (S, n)."""
        return torch.add(self.log_height(), self.squared_distance(z), alpha=-0.5)

    def log_height(self) -> Tensor:
        """The logarithm of the density at the mean, (n,)."""
        log_volume: Tensor = torch.linalg.slogdet(self.factor).logabsdet
        return -log_volume - 0.5 * self.mean.shape[-1] * math.log(2 * math.pi)

    def squared_distance(self, z: Tensor) -> Tensor:
        """From the mean, in standard deviations: (S, n, d) -> (S, n)."""
        inverse = torch.linalg.inv(self.factor)
        return torch.einsum("nij,snj->sni", inverse, z - self.mean).square().sum(-1)


def encoder_gaussian(model: LatentVariableModel, x: Tensor) -> Gaussian:
    """What the encoder takes for the posterior."""
    mean, log_std = model.encode(x)
    return Gaussian(mean, torch.diag_embed(torch.exp(log_std)))


def shortened(steps: Tensor, most: float) -> Tensor:
    """(n, d), those longer than `most` scaled to it."""
    length: Tensor = steps.norm(dim=-1, keepdim=True)
    return steps * (most / length).clamp(max=1)
