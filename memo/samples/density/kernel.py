"""Kernel density estimates from samples.

The kernel is a multivariate t with `FREEDOM` degrees of freedom in the numbers, times Aitchison &
Aitken's (1976) in each categorical column. Its tails are why: the bandwidth under which samples
that were set aside are likeliest is drawn out by single samples far off, or the estimate there is
below what any density is by hundreds of nats, where a kernel's tails are normal (Hall 1987, Annals
of Statistics 15, section 1); and far from all samples a difference of logs is then a ratio of
distances, not a difference of squares that has no bound.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import scipy
import torch
from torch import Tensor

from memo.likelihood.importance_weights import LogLikelihood
from memo.samples.density.units import Rows

FREEDOM = 10.0
"""Degrees of freedom of the kernel."""

NARROWEST, WIDEST = 0.01, 3.0
"""Range of bandwidths, in standard deviations: a sampler that returns its data has none."""

EQUAL = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0)
"""Shares of a categorical kernel that are spread over all categories, of which one is chosen."""

TRIED = 13
"""Bandwidths that are tried before the best is refined."""

QUERIES = 1024
"""Rows whose kernels are in memory at a time."""

EXTRAPOLATED = range(4, 9)
"""Dimensions in which log p is extrapolated to a bandwidth of zero; in more it was not tried."""

WIDER = math.sqrt(2)
"""Times the bandwidth that is the other one it is extrapolated from."""

FEWEST = 5.0
"""Effective number of samples below which the error of an estimate is unknown."""


@dataclass(frozen=True)
class Kernel:
    """K(x, s), a density in x around a sample s, in units of the observations.

    Example:
        It integrates to one; so does the categorical part, over two categories.

        >>> kernel = Kernel(1, (2,), bandwidth=0.5, equal=0.2)
        >>> x = torch.linspace(-60, 60, 24001, dtype=torch.float64)[:, None]
        >>> sample = Rows(torch.zeros(1, 1).double(), torch.tensor([[1.0, 0.0]]).double())
        >>> both = [Rows(x, torch.eye(2).double()[[place] * len(x)]) for place in (0, 1)]
        >>> mass = sum(torch.trapezoid(kernel.log(q, sample)[:, 0].exp(), x[:, 0]) for q in both)
        >>> round(mass.item(), 6)
        1.0
    """

    dimensions: int
    """Number of columns of numbers."""
    categories: tuple[int, ...]
    """Number of categories of each categorical column."""
    bandwidth: float
    """Width in the numbers, in standard deviations of the observations."""
    equal: float
    """Share of the categorical kernels that is spread over all categories alike."""

    def log(self, x: Rows, samples: Rows) -> Tensor:
        """log K(x, s), nats: (n, m), float64."""
        return self.of_numbers(squares(x, samples)) + self.of_categories(x, samples)

    def of_numbers(self, squares: Tensor) -> Tensor:
        """The part of the numbers, of squared distances (n, m); nats."""
        d, h, nu = self.dimensions, self.bandwidth, FREEDOM
        constant = math.lgamma((nu + d) / 2) - math.lgamma(nu / 2)
        constant -= d / 2 * math.log(nu * math.pi) + d * math.log(h)
        return constant - (nu + d) / 2 * torch.log1p(squares / (nu * h * h))

    def of_categories(self, x: Rows, samples: Rows) -> Tensor:
        """log(1 - e + e / c) where a column of c categories is the same, log(e / c) elsewhere."""
        counts = torch.tensor(self.categories, dtype=torch.float64)
        other = torch.log(self.equal / counts)
        more = torch.log(1 - self.equal + self.equal / counts) - other
        weights = torch.repeat_interleave(more, counts.long())
        return other.sum() + (x.categories * weights) @ samples.categories.T


def fitted_kernel(aside: Rows, samples: Rows, categories: tuple[int, ...], wanted: int) -> Kernel:
    """The kernel under which samples that were set aside are likeliest.

    Bandwidths of numbers are chosen for the samples that there are, and narrowed for the number
    that is wanted, by (m / wanted)^(1 / (d + 4)) as the best ones go (Scott 1992, section 6.4).

    Args:
        aside: Samples that the others are to predict.
        samples: Those others, m of them.
        categories: Number of categories of each categorical column.
        wanted: Number of samples that densities will be estimated from.
    """
    d = aside.numbers.shape[1]
    kernel = Kernel(d, categories, bandwidth=0.3, equal=0.1)
    apart = squares(aside, samples)

    def misfit(candidate: Kernel) -> float:
        logs = candidate.of_numbers(apart) + candidate.of_categories(aside, samples)
        return -float(torch.logsumexp(logs, 1).mean())

    def misfit_of(other: Kernel, bandwidth: float) -> float:
        return misfit(replace(other, bandwidth=bandwidth))

    for _ in range(2 if d and categories else 1):
        if categories:
            best = min(EQUAL, key=lambda share: misfit(replace(kernel, equal=share)))
            kernel = replace(kernel, equal=best)
        if d:
            kernel = replace(kernel, bandwidth=_lowest(partial(misfit_of, kernel)))
    narrowed = kernel.bandwidth * (len(samples) / wanted) ** (1 / (d + 4))
    return replace(kernel, bandwidth=max(NARROWEST, narrowed))


def _lowest(function: Callable[[float], float]) -> float:
    """Find the bandwidth at which a function is lowest: the best of some, refined."""
    places = np.linspace(math.log(NARROWEST), math.log(WIDEST), TRIED)
    best = int(np.argmin([function(math.exp(place)) for place in places]))
    around = places[max(0, best - 1)], places[min(TRIED - 1, best + 1)]
    found = scipy.optimize.minimize_scalar(
        lambda place: function(math.exp(place)),
        bounds=around,
        method="bounded",
        options={"xatol": 0.02},
    )
    return math.exp(float(found.x))


class KernelSums:
    """Sums of kernels of the samples so far, at some rows.

    In few dimensions log p is the log of the mean kernel. In those of `EXTRAPOLATED`, where kernels
    are too wide for what a model makes of single records, it is extrapolated to a bandwidth of
    zero, on a line through the logs of the mean kernel at h and at `WIDER` h: as Terrell & Scott
    (1980, Annals of Statistics 8) do by the square of the bandwidth, which is the law for densities
    that are smooth on the scale of h. Those that remember single records are not.

    Args:
        kernel: The kernel.
        x: The rows, n of them.
    """

    def __init__(self, kernel: Kernel, x: Rows) -> None:
        self._kernels, self._weights = [kernel], torch.ones(1, dtype=torch.float64)
        if kernel.dimensions in EXTRAPOLATED:
            more = 1 / (WIDER - 1)
            self._kernels.append(replace(kernel, bandwidth=WIDER * kernel.bandwidth))
            self._weights = torch.tensor([1 + more, -more], dtype=torch.float64)
        self._x = x
        self.count = 0
        widths = len(self._kernels)
        self._top = torch.full((widths, len(x)), -math.inf, dtype=torch.float64)
        self._sum = torch.zeros(widths, len(x), dtype=torch.float64)
        self._products = torch.zeros(widths, widths, len(x), dtype=torch.float64)

    def add(self, samples: Rows) -> None:
        """Add the kernels of more samples."""
        self.count += len(samples)
        for start in range(0, len(self._x), QUERIES):
            at = slice(start, start + QUERIES)
            x = self._x.part(at)
            apart = squares(x, samples)
            unlike = self._kernels[0].of_categories(x, samples)
            logs = [kernel.of_numbers(apart) + unlike for kernel in self._kernels]
            top = torch.maximum(self._top[:, at], torch.stack([one.amax(1) for one in logs]))
            kept = torch.exp(self._top[:, at] - top)
            self._top[:, at] = top
            parts = [torch.exp(one - of[:, None]) for one, of in zip(logs, top, strict=True)]
            self._sum[:, at] = self._sum[:, at] * kept + torch.stack([p.sum(1) for p in parts])
            for v, one in enumerate(parts):
                for w, other in enumerate(parts):
                    before = self._products[v, w, at] * kept[v] * kept[w]
                    self._products[v, w, at] = before + (one * other).sum(1)

    def estimates(self) -> LogLikelihood:
        """Estimates from the samples so far, with standard errors by the delta method."""
        values = self._top + self._sum.log() - math.log(self.count)
        shares = self._products / (self._sum[:, None] * self._sum)
        weights = self._weights
        variance = torch.einsum("v,w,vwn->n", weights, weights, shares - 1 / self.count)
        effective = (1 / shares[0, 0]).numpy()
        return LogLikelihood(
            (weights @ values).numpy(),
            variance.clamp(min=0).sqrt().numpy(),
            effective,
            np.full(len(effective), self.count),
            np.where(effective < FEWEST, 1.0, 0.0),
        )


def squares(x: Rows, samples: Rows) -> Tensor:
    """Squared Euclidean distances between numbers, (n, m)."""
    lengths = x.numbers.square().sum(1)[:, None] + samples.numbers.square().sum(1)
    return torch.addmm(lengths, x.numbers, samples.numbers.T, alpha=-2).clamp(min=0)
