"""Mixture of Gaussians."""

import math
import warnings
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from memo.models.protocols import FitError
from memo.spec.model_specs import GaussianMixtureSpec

STEPS = 1000
"""Most iterations of expectation maximization; a fit that needs more is an error."""


class GaussianMixture(nn.Module):
    """sum_k pi_k N(x; m_k, S_k), by expectation maximization (Dempster et al. 1977).

    The fit starts from k-means, whose own start is drawn from a seed: a weight like the others,
    taken from torch's global generator when the model is built.

    Args:
        spec: Number of components, and the ridge.
        shape: Shape of an observation; its entries are the d columns.

    Example:
        Before a fit all components are standard normal, and so is their mixture.

        >>> model = GaussianMixture(GaussianMixtureSpec(kind="gaussian-mixture"), shape=(2,))
        >>> math.isclose(model.log_prob(torch.zeros(1, 2)), -math.log(2 * math.pi))
        True
    """

    seed: Tensor
    log_weights: Tensor
    means: Tensor
    scale_trils: Tensor

    def __init__(self, spec: GaussianMixtureSpec, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.spec = spec
        self.shape = shape
        k, d = spec.components, prod(shape)
        self.register_buffer("seed", torch.randint(2**31, (1,)))
        self.register_buffer("log_weights", torch.full((k,), -math.log(k), dtype=torch.float64))
        self.register_buffer("means", torch.zeros(k, d, dtype=torch.float64))
        self.register_buffer("scale_trils", torch.eye(d, dtype=torch.float64).repeat(k, 1, 1))

    def fit(self, x: Tensor) -> None:
        """Fit weights, means and Cholesky factors of the covariances to (n, *shape)."""
        if len(x) < self.spec.components:
            raise FitError(
                f"{self.spec.components} components are more than the {len(x)} observations"
            )
        fitted = self._expectation_maximization(x.flatten(1).double().cpu())
        device = self.means.device
        self.log_weights = torch.from_numpy(fitted.weights_).log().to(device)
        self.means = torch.from_numpy(fitted.means_).to(device)
        self.scale_trils = torch.linalg.cholesky(torch.from_numpy(fitted.covariances_).to(device))

    def log_prob(self, x: Tensor) -> Tensor:
        """log sum_k pi_k N(x; m_k, L_k L_k'): (B, *shape) -> (B,)."""
        offsets = x.flatten(1).double() - self.means[:, None]
        whitened = torch.linalg.solve_triangular(self.scale_trils, offsets.mT, upper=False)
        log_determinants = self.scale_trils.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constants = self.log_weights - log_determinants
        constants = constants - 0.5 * self.means.shape[1] * math.log(2 * math.pi)
        return torch.logsumexp(constants[:, None] - 0.5 * whitened.square().sum(1), 0)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw a component by its weight, then from its normal: (count, *shape)."""
        weights = self.log_weights.exp().cpu()
        chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator, dtype=torch.float64)
        chosen, noise = chosen.to(self.means.device), noise.to(self.means.device)
        rows = self.means[chosen] + torch.einsum("nij,nj->ni", self.scale_trils[chosen], noise)
        return rows.reshape(count, *self.shape)

    def _expectation_maximization(self, rows: Tensor) -> Any:
        from sklearn import mixture  # noqa: PLC0415 -- a rare third-party package, slow to import
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415

        algorithm = mixture.GaussianMixture(
            self.spec.components,
            reg_covar=self.spec.ridge,
            max_iter=STEPS,
            random_state=int(self.seed),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                return algorithm.fit(rows.numpy())
            except ConvergenceWarning as error:
                raise FitError(f"expectation maximization did not converge: {error}") from None
            except ValueError as error:
                raise FitError(f"{error} `ridge` or fewer `components` may help") from None
