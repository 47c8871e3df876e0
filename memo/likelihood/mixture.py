"""A mixture of Gaussians and the prior, as proposal."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from memo.likelihood.proposal import Gaussian

__all__ = ["Mixture"]

WIDENING = 0.1
"""What standard deviations are widened by, since posteriors have heavier tails."""

PRIOR_SHARE = 1 / 16
"""The share of draws from the prior."""


@dataclass(frozen=True)
class Mixture:
    """q(z) = a N(z; 0, I) + (1 - a) sum_k b_k N(z; m_k, s^2 L_k L_k^T) for n observations.

    The prior's share a makes it a defensive mixture (Hesterberg 1995, Weighted average importance
    sampling and defensive mixture distributions, Technometrics 37): no weight exceeds p(x | z) / a,
    and modes that no Gaussian covers are found where the latent space is small. For an affine
    decoder a is 0 and s is 1, so that draws from an exact posterior stay such.
    """

    components: tuple[Gaussian, ...]

    shares: Tensor
    """b, (n, K), with sum 1."""

    affine: bool
    """Whether the decoder is affine."""

    @property
    def prior_share(self) -> float:
        """a."""
        return 0.0 if self.affine else PRIOR_SHARE

    def __getitem__(self, rows: Tensor) -> "Mixture":
        components = tuple(component[rows] for component in self.components)
        return Mixture(components, self.shares[rows], self.affine)

    def with_component(self, component: Gaussian) -> "Mixture":
        """One more Gaussian, with as large a share as the mean of the others."""
        count = len(self.components)
        new = self.shares.new_full((len(self.shares), 1), 1 / count)
        return Mixture(
            (*self.components, component),
            torch.cat([self.shares, new], 1) * count / (count + 1),
            self.affine,
        )

    def draw(self, noise: Tensor, uniform: Tensor) -> Tensor:
        """Standard normal (S, n, d) and uniform (S, n) draws -> draws from q, (S, n, d)."""
        z, threshold = noise, torch.full_like(self.shares[:, 0], self.prior_share)
        for gaussian, share in zip(self._widened(), self.shares.T, strict=True):
            z = torch.where((uniform >= threshold).unsqueeze(-1), gaussian.draw(noise), z)
            threshold = threshold + (1 - self.prior_share) * share
        return z

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z): (S, n, d) -> (S, n)."""
        gaussians = torch.stack([gaussian.log_prob(z) for gaussian in self._widened()], -1)
        mixture = torch.logsumexp(gaussians + torch.log(self.shares), -1)
        if self.affine:
            return mixture
        prior = -0.5 * z.square().sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)
        share = self.prior_share
        return torch.logaddexp(math.log(share) + prior, math.log1p(-share) + mixture)

    def _widened(self) -> list[Gaussian]:
        if self.affine:
            return list(self.components)
        return [Gaussian(g.mean, (1 + WIDENING) * g.factor) for g in self.components]
