"""A mixture of Gaussians and the prior, as proposal."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from memo.likelihood.proposals.latent_gaussian import Gaussian

SCALES = ((1.0, 0.7), (1.3, 0.3))
"""Factors on a Gaussian's standard deviations, and their shares.

Posteriors have heavier tails than the Gaussians found for them.
"""

PRIOR_SHARE = 1 / 16
"""The share of draws from the prior."""


@dataclass(frozen=True)
class Mixture:
    """q(z) = a N(z; 0, I) + (1 - a) sum_k b_k sum_s c_s N(z; m_k, s^2 L_k L_k^T).

    The prior's share a makes it a defensive mixture (Hesterberg 1995, Weighted average importance
    sampling and defensive mixture distributions, Technometrics 37): no weight exceeds p(x | z) / a,
    and modes that no Gaussian covers are found where the latent space is small. For an affine
    decoder a is 0 and s is 1, so that draws from an exact posterior stay such. There is one mixture
    for each of n observations.
    """

    gaussians: tuple[Gaussian, ...]

    shares: Tensor
    """b, (n, K), with sum 1."""

    affine: bool
    """True where the decoder is affine."""

    def __getitem__(self, rows: Tensor) -> "Mixture":
        chosen = tuple(gaussian[rows] for gaussian in self.gaussians)
        return replace(self, gaussians=chosen, shares=self.shares[rows])

    def with_gaussian(self, gaussian: Gaussian) -> "Mixture":
        """One more Gaussian, with as large a share as the mean of the others."""
        count = len(self.gaussians)
        new = self.shares.new_full((len(self.shares), 1), 1 / count)
        shares = torch.cat([self.shares, new], 1) * count / (count + 1)
        return replace(self, gaussians=(*self.gaussians, gaussian), shares=shares)

    def draw(self, noise: Tensor, uniform: Tensor) -> Tensor:
        """Standard normal (S, n, d) and uniform (S, n) draws -> draws from q, (S, n, d)."""
        z, below = noise, torch.zeros_like(uniform[0])
        for gaussian, share in self._terms():
            z = torch.where((uniform >= below).unsqueeze(-1), gaussian.draw(noise), z)
            below = below + share
        return z

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z): (S, n, d) -> (S, n)."""
        terms = [torch.log(share) + gaussian.log_prob(z) for gaussian, share in self._terms()]
        return torch.logsumexp(torch.stack(terms), 0)

    def _terms(self) -> Iterator[tuple[Gaussian, Tensor]]:
        """Each term of the sum, with its share, (n,)."""
        prior_share = 0.0 if self.affine else PRIOR_SHARE
        if not self.affine:
            mean, factor = self.gaussians[0].mean, self.gaussians[0].factor
            identity = torch.eye(mean.shape[1]).to(mean).expand_as(factor)
            yield (
                Gaussian(torch.zeros_like(mean), identity),
                torch.full_like(mean[:, 0], prior_share),
            )
        for gaussian, share in zip(self.gaussians, self.shares.T, strict=True):
            for scale, part in ((1.0, 1.0),) if self.affine else SCALES:
                yield gaussian.widened(scale), (1 - prior_share) * part * share
