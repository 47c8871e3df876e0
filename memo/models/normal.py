"""Multivariate normal."""

import math
from math import prod

import torch
from torch import Tensor, nn

from memo.models.protocols import FitError
from memo.spec.model_specs import NormalSpec

ROUNDING = 1e-13
"""Relative size below which a pivot or a downdate is rounding error."""


class Normal(nn.Module):
    """N(x; m, S + ridge I), with the maximum likelihood mean m and covariance S.

    Args:
        spec: The ridge.
        shape: Shape of an observation; its entries are the d columns.

    Example:
        -1 and 1 have mean 0 and maximum likelihood variance 1.

        >>> model = Normal(NormalSpec(kind="normal"), shape=(1,))
        >>> model.fit(torch.tensor([[-1.0], [1.0]]))
        >>> math.isclose(model.log_prob(torch.zeros(1, 1)), -0.5 * math.log(2 * math.pi))
        True
    """

    mean: Tensor
    scale_tril: Tensor

    def __init__(self, spec: NormalSpec, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.ridge = spec.ridge
        self.shape = shape
        columns = prod(shape)
        self.register_buffer("mean", torch.zeros(columns, dtype=torch.float64))
        self.register_buffer("scale_tril", torch.eye(columns, dtype=torch.float64))

    def fit(self, x: Tensor) -> None:
        """Fit the mean and the Cholesky factor of the covariance to (n, *shape)."""
        rows = x.flatten(1).double()
        self.mean = rows.mean(0)
        self.scale_tril = _cholesky(self._with_ridge(_covariance(rows - self.mean)))

    def log_prob(self, x: Tensor) -> Tensor:
        """-1/2 |L^-1 (x - m)|^2 - log det L - d/2 log 2 pi: (B, *shape) -> (B,)."""
        offsets = x.flatten(1).double() - self.mean
        return _log_density(_squared_norms(self.scale_tril, offsets), self.scale_tril)

    def leave_one_out_log_prob(self, x: Tensor) -> Tensor:
        """log p(x_i | D without i) by rank-one downdates (Sherman & Morrison 1950): (n,).

        With d = x_i - m, c = n / (n - 1)^2 and A = n / (n - 1) S + ridge I, the covariance
        without i is A - c d d', and x_i lies n / (n - 1) d from the mean without i. So, with
        q = d' A^-1 d, its determinant is det A (1 - c q), and the squared distance of x_i is
        (n / (n - 1))^2 q / (1 - c q).
        """
        rows = x.flatten(1).double()
        n = len(rows)
        if n < 2:
            raise FitError("a normal without its only observation has nothing to be fitted to")
        offsets = rows - rows.mean(0)
        grown = n / (n - 1)
        factor = _cholesky(self._with_ridge(grown * _covariance(offsets)))
        distances = _squared_norms(factor, offsets)
        kept = 1 - grown / (n - 1) * distances
        if (kept <= ROUNDING * n).any():
            raise FitError(
                f"without observation {int(kept.argmin())} the covariance is singular; "
                "`ridge` above 0 makes it regular"
            )
        return _log_density(grown**2 * distances / kept, factor) - 0.5 * torch.log(kept)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """m + L e, e standard normal: (count, *shape)."""
        noise = torch.randn(count, len(self.mean), generator=generator, dtype=torch.float64)
        rows = self.mean + noise.to(self.mean.device) @ self.scale_tril.T
        return rows.reshape(count, *self.shape)

    def _with_ridge(self, covariance: Tensor) -> Tensor:
        return covariance + self.ridge * torch.eye(len(covariance)).to(covariance)


def _covariance(offsets: Tensor) -> Tensor:
    return offsets.T @ offsets / len(offsets)


def _cholesky(covariance: Tensor) -> Tensor:
    factor, info = torch.linalg.cholesky_ex(covariance)
    pivots = factor.diagonal().square()
    if info or (pivots <= ROUNDING * len(covariance) * covariance.diagonal()).any():
        constant = (covariance.diagonal() == 0).nonzero().flatten().tolist()
        why = f": column {constant[0]} is constant" if constant else ""
        raise FitError(f"the covariance is singular{why}; `ridge` above 0 makes it regular")
    return factor  # type: ignore[no-any-return]


def _squared_norms(factor: Tensor, offsets: Tensor) -> Tensor:
    whitened: Tensor = torch.linalg.solve_triangular(factor, offsets.T, upper=False)
    return whitened.square().sum(0)


def _log_density(squared_norms: Tensor, factor: Tensor) -> Tensor:
    columns = factor.shape[-1]
    log_determinant = torch.log(factor.diagonal()).sum()
    return -0.5 * (squared_norms + columns * math.log(2 * math.pi)) - log_determinant
