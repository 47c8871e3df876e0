"""Kernel density estimate."""

import math
from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from memo.models.protocols import FitError
from memo.spec.model_specs import KDESpec

CHUNK = 1 << 22
"""Kernel values in memory at a time: 32 MiB in float64."""

FACTORS = 25
"""Bandwidth factors that one pass of cross-validation compares."""

NARROWEST, WIDEST = 1e-2, 10.0
"""Range of the bandwidth factors that cross-validation compares, as multiples of Scott's."""


ROUNDING = 1e-12
"""Share of a column's sum of squares below which what one observation leaves of it is rounding."""


class KDE(nn.Module):
    """1/n sum_k prod_j N(x_j; x_kj, h_j^2): a Gaussian product kernel (Scott 1992, section 6.3).

    Bandwidths by rule or by cross-validation are a factor times each column's standard deviation
    (the maximum likelihood one, over n).

    Args:
        spec: The bandwidth, or the rule that chooses it.
        shape: Shape of an observation; its entries are the d columns.

    Example:
        Of two points, each without itself has a density of the other's kernel alone.

        >>> model, x = KDE(KDESpec(kind="kde", bandwidth=1), shape=(1,)), torch.zeros(2, 1)
        >>> model.fit(x)
        >>> expected = torch.full((2,), -0.5 * math.log(2 * math.pi), dtype=torch.float64)
        >>> torch.allclose(model.leave_one_out_log_prob(x), expected)
        True
    """

    points: Tensor
    bandwidth: Tensor

    def __init__(self, spec: KDESpec, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.rule = spec.bandwidth
        self.shape = shape
        columns = prod(shape)
        self.register_buffer("points", torch.zeros(0, columns, dtype=torch.float64))
        self.register_buffer("bandwidth", torch.ones(columns, dtype=torch.float64))
        self.register_load_state_dict_pre_hook(_take_size)  # type: ignore[no-untyped-call]

    def fit(self, x: Tensor) -> None:
        """Keep the observations (n, *shape) and choose the bandwidths."""
        self.points = x.flatten(1).double()
        if isinstance(self.rule, float | int):
            self.bandwidth = torch.full_like(self.bandwidth, self.rule)
            return
        spread = self.points.std(0, correction=0)
        spread[self.points.amax(0) == self.points.amin(0)] = 0  # whatever rounding makes of it
        _require_spread(spread, "")
        if self.rule == "cross-validated":
            factor = _cross_validated_factor(self.points, spread)
        else:
            factor = _rule_factor(self.rule, *self.points.shape)
        self.bandwidth = factor * spread

    def log_prob(self, x: Tensor) -> Tensor:
        """log mean over the points of the kernel at x: (B, *shape) -> (B,)."""
        if not len(self.points):
            raise FitError("a kernel density estimate has no density before it is fitted")
        rows = x.flatten(1).double()
        sums = [
            torch.logsumexp(_exponents(chunk, self.points, self.bandwidth[None]), 1)
            for chunk in _in_chunks(rows, len(self.points))
        ]
        return torch.cat(sums) - math.log(len(self.points)) - _log_volume(self.bandwidth)

    def leave_one_out_log_prob(self, x: Tensor) -> Tensor:
        """log p(x_i | D without i) from the other observations' kernels: (n,).

        A bandwidth by rule is computed anew without the observation, from its factor for n - 1
        and the column's standard deviation without it. A bandwidth that is given, or was chosen
        by cross-validation on all of x, is held fixed.
        """
        rows = x.flatten(1).double()
        bandwidths = self._bandwidths_without_each(rows)
        sums = []
        for i in _in_chunks(torch.arange(len(rows)), len(rows)):
            of_rows = bandwidths[i] if len(bandwidths) > 1 else bandwidths
            exponents = _without_own(_exponents(rows[i], rows, of_rows), i)
            sums.append(torch.logsumexp(exponents, 1))
        return torch.cat(sums) - math.log(len(rows) - 1) - _log_volume(bandwidths)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Points drawn at random, plus the kernel's noise: (count, *shape)."""
        chosen = torch.randint(len(self.points), (count,), generator=generator)
        noise = torch.randn(count, len(self.bandwidth), generator=generator, dtype=torch.float64)
        device = self.points.device
        rows = self.points[chosen.to(device)] + self.bandwidth * noise.to(device)
        return rows.reshape(count, *self.shape)

    def _bandwidths_without_each(self, rows: Tensor) -> Tensor:
        """Bandwidths without each observation, (n, d); (1, d) where they are the same for all."""
        n, columns = rows.shape
        if n < 2:
            raise FitError("a kernel density without its only observation has no kernel left")
        if self.rule not in ("scott", "silverman"):
            return self.bandwidth[None]
        return _rule_factor(str(self.rule), n - 1, columns) * _spread_without_each(rows)


def _rule_factor(rule: str, n: int, columns: int) -> float:
    """n^(-1 / (d + 4)) (Scott 1992, eq. 6.42), times (4 / (d + 2))^(1 / (d + 4)) for Silverman."""
    constant = 1.0 if rule == "scott" else 4 / (columns + 2)
    return float((constant / n) ** (1 / (columns + 4)))


def _cross_validated_factor(points: Tensor, spread: Tensor) -> float:
    """Factor of highest leave-one-out likelihood (Duin 1976), to 2%, by two grids of factors."""
    n, columns = points.shape
    if n < 2:
        raise FitError("cross-validation of a bandwidth needs two observations")
    scott = _rule_factor("scott", n, columns)
    factors = torch.logspace(math.log10(NARROWEST), math.log10(WIDEST), FACTORS).to(points) * scott
    best = int(_leave_one_out_sums(points, spread, factors).argmax())
    if best in (0, FACTORS - 1):
        raise FitError(
            "cross-validation finds no best bandwidth: the leave-one-out likelihood is highest at "
            f"the {'narrowest' if best == 0 else 'widest'} one, {float(factors[best]):.2g} times "
            "the columns' standard deviations; `bandwidth` can be given"
        )
    low, high = torch.log10(factors[[best - 1, best + 1]]).tolist()
    finer = torch.logspace(low, high, FACTORS).to(points)
    return float(finer[_leave_one_out_sums(points, spread, finer).argmax()])


def _leave_one_out_sums(points: Tensor, spread: Tensor, factors: Tensor) -> Tensor:
    """sum_i log p(x_i | D without i) for each factor, up to a constant; one pass over distances."""
    n, columns = points.shape
    total = torch.zeros_like(factors)
    for i in _in_chunks(torch.arange(n), n):
        exponents = _without_own(_exponents(points[i], points, spread[None]), i)
        total += torch.stack([torch.logsumexp(exponents / f**2, 1).sum() for f in factors])
    return total - n * columns * torch.log(factors)


def _exponents(x: Tensor, points: Tensor, bandwidths: Tensor) -> Tensor:
    """-1/2 sum_j (x_ij - p_kj)^2 / h_ij^2 as matrix products: (m, n).

    Points are taken from their mean, so that the expanded square loses fewest digits.

    Args:
        x: (m, d).
        points: (n, d).
        bandwidths: (m, d), or (1, d) where all rows share them.
    """
    origin = points.mean(0)
    x, points = x - origin, points - origin
    precision = bandwidths.pow(-2)
    weighted = x * precision
    cross = weighted @ points.T
    squares = (weighted * x).sum(1, keepdim=True) + precision @ points.square().T
    return (cross - 0.5 * squares).clamp_max(0)


def _without_own(exponents: Tensor, rows: Tensor) -> Tensor:
    """Drop the kernel of each of these rows at the row itself, in place."""
    exponents[torch.arange(len(rows)), rows] = -math.inf
    return exponents


def _log_volume(bandwidths: Tensor) -> Tensor:
    """log of prod_j h_j sqrt(2 pi)."""
    columns = bandwidths.shape[-1]
    return torch.log(bandwidths).sum(-1) + 0.5 * columns * math.log(2 * math.pi)


def _spread_without_each(rows: Tensor) -> Tensor:
    """Standard deviation of each column without each observation in turn: (n, d).

    The sum of squares about the mean, without i, is less by n / (n - 1) (x_i - m)^2.
    """
    n = len(rows)
    squares = (rows - rows.mean(0)).square()
    total = squares.sum(0)
    left = total - n / (n - 1) * squares
    spread = torch.where(left > ROUNDING * total, left / (n - 1), 0).sqrt()
    _require_spread(spread, f" without observation {int(spread.amin(1).argmin())}")
    return spread


def _require_spread(spread: Tensor, when: str) -> None:
    if (spread == 0).any():
        column = int((spread == 0).nonzero()[0, -1])
        raise FitError(f"column {column} is constant{when}: no rule gives it a bandwidth")


def _in_chunks(rows: Tensor, points: int) -> Sequence[Tensor]:
    """Parts of the rows that have at most `CHUNK` kernel values with so many points."""
    return torch.split(rows, max(1, CHUNK // points))


def _take_size(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Make room for as many points as a file holds, before they are loaded."""
    points = state.get(f"{prefix}points")
    if isinstance(module, KDE) and points is not None:
        module.points = torch.empty_like(points, device=module.points.device)
