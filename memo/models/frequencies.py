"""Independent pixels of integer levels: a broad density of digital images."""

from math import prod

import torch
from torch import Tensor, nn


class Frequencies(nn.Module):
    """prod_j (c_j(x_j) + 1) / (n + levels), c_j(v) counting level v at pixel j: Laplace's rule.

    Args:
        shape: Shape of an observation.
        levels: Pixels are integers 0 ... levels - 1.

    Example:
        A pixel that was 1 in all of three observations is 1 with probability (3 + 1) / (3 + 2).

        >>> model = Frequencies(shape=(1,), levels=2)
        >>> model.fit(torch.ones(3, 1))
        >>> round(float(model.log_prob(torch.ones(1, 1)).exp()), 12)
        0.8
    """

    log_probabilities: Tensor

    def __init__(self, shape: tuple[int, ...], levels: int) -> None:
        super().__init__()
        self.shape = shape
        self.levels = levels
        self.register_buffer(
            "log_probabilities", torch.zeros(levels, prod(shape), dtype=torch.float64)
        )

    def fit(self, x: Tensor) -> None:
        """Count each pixel's levels over (n, *shape)."""
        pixels = x.flatten(1).long()
        counts = torch.stack([(pixels == level).sum(0) for level in range(self.levels)])
        self.log_probabilities = torch.log((counts + 1.0).double() / (len(x) + self.levels))

    def log_prob(self, x: Tensor) -> Tensor:
        """Sum of the pixels' log-probabilities: (B, *shape) -> (B,)."""
        return self.log_probabilities.gather(0, x.flatten(1).long()).sum(1)
