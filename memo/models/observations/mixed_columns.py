"""Columns of a table: Gaussian numbers and categories, one likelihood for each kind."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from memo.models.observations.gaussian import log_floored, log_normal, standard_normal


class Columns(nn.Module):
    """prod_j N(x_j; mean_j, sigma_j^2) prod_k softmax(logits_k)[c_k], for numbers j, categories k.

    The decoder returns means, and a logit for each category; each sigma_j is one learned number.

    Args:
        shape: (numbers + sum of categories,): first the numbers, then for each categorical column
            a 1 among zeros.
        categories: Number of categories of each categorical column.
        floor: Standard deviation that no sigma falls below.

    Raises:
        ValueError: Observations are not such vectors.

    Example:
        One column of four categories, by equal logits:

        >>> model = Columns((4,), categories=[4], floor=0.01)
        >>> log_p = model.log_prob(torch.tensor([0.0, 0.0, 1.0, 0.0]), torch.zeros(4))
        >>> round(log_p.exp().item(), 6)
        0.25
    """

    def __init__(self, shape: tuple[int, ...], categories: Sequence[int], floor: float) -> None:
        super().__init__()
        if len(shape) != 1 or shape[0] < sum(categories):
            raise ValueError(f"observations of shape {shape} are not records of these columns")
        self.shape = shape
        self.parameter_shape = shape
        self.sizes = [shape[0] - sum(categories), *categories]
        self.floor = floor
        self.log_std = nn.Parameter(torch.zeros(self.sizes[0]))

    def encoder_input(self, x: Tensor) -> Tensor:
        """The vectors as they are."""
        return x

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Sum over the columns of log p: (..., *shape) -> (...)."""
        numbers, *chosen = torch.split(x, self.sizes, -1)
        means, *logits = torch.split(parameters, self.sizes, -1)
        total = log_normal(numbers, means, self._log_sigma()).sum(-1)
        for one, of_column in zip(chosen, logits, strict=True):
            total = total + (one * functional.log_softmax(of_column, -1)).sum(-1)
        return total

    def fisher_information(self, parameters: Tensor) -> Tensor:
        """1 / sigma^2 for means; p (1 - p) for logits, the diagonal of diag(p) - p p'."""
        means, *logits = torch.split(parameters, self.sizes, -1)
        information = [torch.exp(-2 * self._log_sigma()).expand_as(means)]
        for of_column in logits:
            probabilities = torch.softmax(of_column, -1)
            information.append(probabilities * (1 - probabilities))
        return torch.cat(information, -1)

    def sample(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        """mean + sigma Phi^-1(u); and the category whose share of [0, 1] its first u lies in."""
        means, *logits = torch.split(parameters, self.sizes, -1)
        draws, *shares = torch.split(uniform, self.sizes, -1)
        drawn = [means + torch.exp(self._log_sigma()) * standard_normal(draws)]
        for of_column, share in zip(logits, shares, strict=True):
            upper = torch.softmax(of_column, -1).cumsum(-1)[..., :-1]
            category = (share[..., :1] >= upper).sum(-1)
            drawn.append(functional.one_hot(category, of_column.shape[-1]).to(parameters.dtype))
        return torch.cat(drawn, -1)

    def _log_sigma(self) -> Tensor:
        return log_floored(self.log_std, self.floor)
