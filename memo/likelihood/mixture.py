"""A mixture of Gaussians and the prior, as proposal."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from memo.likelihood.proposal import Gaussian

__all__ = ["Mixture"]

WIDENING = 0.1
"""The most that standard deviations are widened by, since posteriors have heavier tails."""

PRIOR_SHARE = 1 / 16
"""The largest share of draws from the prior."""


@dataclass(frozen=True)
class Mixture:
    """q(z) = a N(z; 0, I) + (1 - a) / K sum_k N(z; m_k, s_k^2 L_k L_k^T) for n observations.

    The prior's share a makes it a defensive mixture (Hesterberg 1995, Weighted average importance
    sampling and defensive mixture distributions, Technometrics 37): no weight exceeds p(x | z) / a,
    and modes that no Gaussian covers are found where the latent space is small. Share and widening
    go to 0 with the nonlinearity of the decoder, so that draws from an exact posterior stay such.
    """

    components: tuple[Gaussian, ...]
    nonlinearity: Tensor
    """(n,), of `approximate_posterior`."""

    @property
    def prior_share(self) -> Tensor:
        """a, (n,)."""
        return self.nonlinearity.clamp(max=PRIOR_SHARE)

    def __getitem__(self, rows: Tensor) -> "Mixture":
        return Mixture(tuple(c[rows] for c in self.components), self.nonlinearity[rows])

    def no_draws(self) -> Tensor:
        """(0, n, d)."""
        mean = self.components[0].mean
        return mean.new_empty(0, *mean.shape)

    def draw(self, noise: Tensor, uniform: Tensor) -> Tensor:
        """Standard normal (S, n, d) and uniform (S, n) draws -> draws from q, (S, n, d)."""
        z = noise
        share = (uniform - self.prior_share) / (1 - self.prior_share)
        chosen = (share * len(self.components)).floor()
        for k, (mean, factor) in enumerate(self._widened()):
            moved = mean + torch.einsum("nij,snj->sni", factor, noise)
            z = torch.where((chosen == k).unsqueeze(-1), moved, z)
        return z

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z): (S, n, d) -> (S, n)."""
        gaussians = [_log_normal(z, mean, factor) for mean, factor in self._widened()]
        mixture = torch.logsumexp(torch.stack(gaussians), 0) - math.log(len(gaussians))
        prior = -0.5 * z.square().sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)
        share = self.prior_share
        return torch.logaddexp(torch.log(share) + prior, torch.log1p(-share) + mixture)

    def _widened(self) -> list[tuple[Tensor, Tensor]]:
        scale = (1 + self.nonlinearity.clamp(max=WIDENING))[:, None, None]
        return [(c.mean, scale * c.factor) for c in self.components]


def _log_normal(z: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
    whitened = torch.einsum("nij,snj->sni", torch.linalg.inv(factor), z - mean)
    log_volume = torch.linalg.slogdet(factor).logabsdet
    constant = 0.5 * z.shape[-1] * math.log(2 * math.pi)
    return -0.5 * whitened.square().sum(-1) - log_volume - constant
