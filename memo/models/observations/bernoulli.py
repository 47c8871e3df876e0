"""Binary pixels."""

from typing import Any, cast

import torch
from torch import Tensor, nn


class Bernoulli(nn.Module):
    """Independent binary pixels; the decoder returns one logit a pixel.

    Args:
        shape: Shape of an observation.

    Example:
        >>> model, logits = Bernoulli((2,)), torch.tensor([0.0, 0.0]).log1p()
        >>> round(float(model.log_prob(torch.ones(2), logits).exp()), 6)
        0.25
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.parameter_shape = shape

    def encoder_input(self, x: Tensor) -> Tensor:
        """The pixels as they are."""
        return x

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """sum over pixels of x l - log(1 + exp l), for logits l."""
        if torch.is_grad_enabled():
            terms = cast(Tensor, _LogProb.apply(x, parameters))
            return terms.flatten(-len(self.shape)).sum(-1)
        return _log_prob_without_gradient(x, parameters, len(self.shape))

    def fisher_information(self, parameters: Tensor) -> Tensor:
        """p (1 - p), which is also the exact curvature of -log p in the logits."""
        probability = torch.sigmoid(parameters)
        return probability * (1 - probability)

    def sample(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        """1 where the uniform draw lies below the pixel's probability."""
        return (uniform < torch.sigmoid(parameters)).to(parameters.dtype)


class _LogProb(torch.autograd.Function):
    """x l - log(1 + exp l) for each pixel, with its derivative x - sigmoid(l) written out.

    Computed as (x - 1/2) l - |l| / 2 + log sigmoid |l|, which is faster than `softplus`; autograd
    would go through each of these terms, and round otherwise. `binary_cross_entropy_with_logits`
    has the same derivative, but not under `vmap`.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, logits: Tensor) -> Tensor:
        size = logits.abs()
        return (x - 0.5) * logits - 0.5 * size + torch.sigmoid(size).log()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        x, logits = ctx.saved_tensors
        return None, gradient * (x - torch.sigmoid(logits))


FACTORS = 64
"""Number of factors between a half and 1 in one product; float32 could hold that of 126."""


def _log_prob_without_gradient(x: Tensor, logits: Tensor, axes: int) -> Tensor:
    """log p(x | z) with one logarithm for many pixels, sum_j log s_j = log prod_j s_j.

    Scoring of many pixels spends much of its time here (benchmarks/README.md, models).
    """
    x, logits = x.flatten(-axes), logits.flatten(-axes)
    size = logits.abs()
    result: Tensor = torch.linalg.vecdot(x - 0.5, logits).sub_(size.sum(-1), alpha=0.5)
    factors = size.sigmoid_()
    whole = factors.shape[-1] // FACTORS
    split = whole * FACTORS
    for part in (
        factors[..., :split].unflatten(-1, (whole, FACTORS)),  # type: ignore[no-untyped-call]
        factors[..., split:].unsqueeze(-2),
    ):
        result += part.prod(-1).log_().sum(-1)
    return result
