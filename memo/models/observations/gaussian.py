"""Gaussians of real-valued pixels, with one learned variance or a variance for each pixel."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Gaussian(nn.Module):
    """N(x; mean, sigma^2 I): the decoder returns the means, and sigma is one learned number.

    Args:
        shape: Shape of an observation.
        floor: Standard deviation that sigma does not fall below; None for none.

    Example:
        >>> model = Gaussian((1,))
        >>> log_p = model.log_prob(torch.tensor([3.0]), parameters=torch.tensor([1.0]))
        >>> math.isclose(log_p.item(), -2 - 0.5 * math.log(2 * math.pi), rel_tol=1e-6)
        True
    """

    def __init__(self, shape: tuple[int, ...], floor: float | None = None) -> None:
        super().__init__()
        self.floor = floor
        self.shape = shape
        self.parameter_shape = shape
        self.log_std = nn.Parameter(torch.zeros(1))

    def encoder_input(self, x: Tensor) -> Tensor:
        """The pixels as they are."""
        return x

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """sum over pixels of log N(x; mean, sigma^2)."""
        terms = log_normal(x, parameters, self._log_sigma())
        return terms.flatten(-len(self.shape)).sum(-1)

    def fisher_information(self, parameters: Tensor) -> Tensor:
        """1 / sigma^2, which is also the exact curvature of -log p in the means."""
        return torch.exp(-2 * self._log_sigma()).expand_as(parameters)

    def sample(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        """mean + sigma Phi^-1(u)."""
        return parameters + torch.exp(self._log_sigma()) * standard_normal(uniform)

    def _log_sigma(self) -> Tensor:
        return log_floored(self.log_std, self.floor)


class DiagonalGaussian(nn.Module):
    """N(x; mean, diag(std^2)), std = floor + softplus(r): the decoder returns means and r.

    Args:
        shape: Shape of an observation, (C, ...); the decoder's output has 2 C in place of C, the
            means first.
        floor: Standard deviation that no pixel falls below.

    Example:
        Where r is far below zero, the standard deviation is the floor.

        >>> model = DiagonalGaussian((1,), floor=1.0)
        >>> log_p = model.log_prob(torch.tensor([3.0]), parameters=torch.tensor([1.0, -50.0]))
        >>> math.isclose(log_p.item(), -2 - 0.5 * math.log(2 * math.pi), rel_tol=1e-6)
        True
    """

    def __init__(self, shape: tuple[int, ...], floor: float) -> None:
        super().__init__()
        self.shape = shape
        self.parameter_shape = (2 * shape[0], *shape[1:])
        self.floor = floor

    def encoder_input(self, x: Tensor) -> Tensor:
        """The pixels as they are."""
        return x

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """sum over pixels of log N(x; mean, std^2)."""
        mean, raw = self._split(parameters)
        terms = log_normal(x, mean, torch.log(self._std(raw)))
        return terms.flatten(-len(self.shape)).sum(-1)

    def fisher_information(self, parameters: Tensor) -> Tensor:
        """1 / std^2 for the means; 2 / std^2 (d std / d r)^2 for r."""
        _, raw = self._split(parameters)
        precision = self._std(raw).pow(-2)
        information = (precision, 2 * precision * torch.sigmoid(raw).square())
        return torch.cat(information, dim=-len(self.shape))

    def sample(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        """mean + std Phi^-1(u)."""
        mean, raw = self._split(parameters)
        return mean + self._std(raw) * standard_normal(uniform)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = parameters.chunk(2, dim=-len(self.shape))
        return mean, raw

    def _std(self, raw: Tensor) -> Tensor:
        return self.floor + functional.softplus(raw)


def log_floored(log_value: Tensor, floor: float | None) -> Tensor:
    """log(floor + exp(log_value)), which has a gradient everywhere; None for no floor."""
    if floor is None:
        return log_value
    return torch.logaddexp(log_value, torch.full_like(log_value, math.log(floor)))


def log_normal(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log N(x; mean, std^2) of each entry."""
    standardized = (x - mean) * torch.exp(-log_std)
    return -0.5 * standardized.square() - log_std - 0.5 * math.log(2 * math.pi)


def standard_normal(uniform: Tensor) -> Tensor:
    """Phi^-1(u); a uniform draw may be exactly 0, whose inverse is not finite."""
    smallest = torch.finfo(uniform.dtype).eps / 4
    normal: Tensor = torch.special.ndtri(uniform.clamp_min(smallest))
    return normal
