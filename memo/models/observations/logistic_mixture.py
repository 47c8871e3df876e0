"""Discretized mixture of logistics, for pixels of integer levels."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

MIN_LOG_SCALE = -7.0
"""Floor of Salimans et al.: a hundredth of a level wide, in units where all levels span 2."""

DRAWS = 16
"""Draws of each pixel that its Fisher information is averaged over."""


class _Parameters(NamedTuple):
    """The decoder's output for each pixel; M components, C channels, in units of [-1, 1]."""

    logits: Tensor
    """(..., M, H, W), logarithms of the mixture weights up to a constant."""

    means: Tensor
    """(..., M, C, H, W), without the earlier channels' terms."""

    log_scales: Tensor
    """(..., M, C, H, W)."""

    coefficients: list[Tensor]
    """For channel c, (..., M, c, H, W): slope of its mean in each earlier channel."""


class LogisticMixture(nn.Module):
    """sum_k pi_k prod_c P(x_c; logistic(m_kc + sum_{b<c} a_kcb x_b, s_kc)), for each pixel.

    The discretized mixture of logistics of PixelCNN++ (Salimans et al. 2017, eq. 2-3): a level v
    has the probability that a logistic variable rounds to v, the first and the last level take
    the tails, and all channels of a pixel share one mixture component. Log-probabilities are
    exact in float arithmetic, without that code's approximation for narrow bins.

    Args:
        shape: (C, H, W).
        components: Mixture components, M.
        levels: Pixels are integers 0 ... levels - 1.

    Raises:
        ValueError: Observations are not images.

    Example:
        Probabilities of a pixel's levels sum to one.

        >>> model = LogisticMixture((1, 1, 1), components=1, levels=16)
        >>> levels = torch.arange(16.0).reshape(16, 1, 1, 1)
        >>> round(float(model.log_prob(levels, torch.zeros(3, 1, 1)).exp().sum()), 6)
        1.0
    """

    def __init__(self, shape: tuple[int, ...], components: int, levels: int) -> None:
        super().__init__()
        if len(shape) != 3:
            raise ValueError("a mixture of logistics needs images of channels x height x width")
        channels, height, width = shape
        self.shape = shape
        self.channels = channels
        self.components = components
        self.levels = levels
        self.pairs = channels * (channels - 1) // 2
        features = components * (1 + 2 * channels + self.pairs)
        self.parameter_shape = (features, height, width)

    def encoder_input(self, x: Tensor) -> Tensor:
        """Levels in [-1, 1]."""
        return 2 * x / (self.levels - 1) - 1

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """sum over pixels of the log of the mixture's probability of the pixel's levels."""
        mixture = self._split(parameters)
        scaled = self.encoder_input(x).unsqueeze(-4)
        log_probabilities = self._log_bin(
            x.unsqueeze(-4), scaled - self._means(mixture, scaled), mixture.log_scales
        )
        log_joint = torch.log_softmax(mixture.logits, -3) + log_probabilities.sum(-3)
        return torch.logsumexp(log_joint, -3).sum((-2, -1))

    def fisher_information(self, parameters: Tensor) -> Tensor:
        """Mean squared score function over `DRAWS` evenly spread draws of each pixel.

        The information has no closed form; that of x and the component together, which has one, is
        far above it where components overlap: steps and proposals made from it are too narrow.
        """
        total = torch.zeros_like(parameters)
        shape = (*parameters.shape[:-3], *self.shape)
        for uniform in _spread_draws(self.shape).to(parameters):
            x = self.sample(parameters.detach(), uniform.expand(shape))
            with torch.enable_grad():
                at = parameters.detach().requires_grad_()
                (score,) = torch.autograd.grad(self.log_prob(x, at).sum(), at)
            total += score.square()
        return total / DRAWS

    def sample(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        """Draw channel after channel, by the inverse of the logistic distribution function.

        The component is chosen by the first channel's draw; the draw's place within the
        component's share of [0, 1] is uniform again, and serves for that channel's level.
        """
        mixture = self._split(parameters)
        chosen, first = _choose(torch.softmax(mixture.logits, -3), uniform[..., 0, :, :])
        draws = torch.cat([first.unsqueeze(-3), uniform[..., 1:, :, :]], -3)
        noise = torch.logit(draws, eps=torch.finfo(draws.dtype).eps)
        levels = torch.zeros_like(uniform)
        for channel in range(self.channels):
            centres = self._means(mixture, self.encoder_input(levels).unsqueeze(-4))
            values = centres + torch.exp(mixture.log_scales) * noise.unsqueeze(-4)
            value = (chosen * values[..., channel, :, :]).sum(-3)
            level = torch.round((value + 1) * (self.levels - 1) / 2)
            levels[..., channel, :, :] = level.clamp(0, self.levels - 1)
        return levels

    def _split(self, parameters: Tensor) -> _Parameters:
        per_component = 2 * self.channels + self.pairs
        logits, rest = torch.split(
            parameters, [self.components, self.components * per_component], -3
        )
        means, log_scales, pairs = torch.split(
            torch.unflatten(rest, -3, (self.components, per_component)),
            [self.channels, self.channels, self.pairs],
            -3,
        )
        coefficients = torch.split(torch.tanh(pairs), list(range(self.channels)), -3)
        return _Parameters(logits, means, log_scales.clamp_min(MIN_LOG_SCALE), list(coefficients))

    def _means(self, mixture: _Parameters, scaled: Tensor) -> Tensor:
        """Each channel's location, given the earlier channels' levels."""
        shifts = [
            (a * scaled[..., :channel, :, :]).sum(-3, keepdim=True)
            for channel, a in enumerate(mixture.coefficients)
        ]
        return mixture.means + torch.cat(shifts, -3)

    def _log_bin(self, level: Tensor, offset: Tensor, log_scale: Tensor) -> Tensor:
        """log(F(offset + half a level) - F(offset - half a level)), F the logistic function.

        With a and b the two arguments over the scale, the difference is
        F(a) (1 - F(b)) (1 - exp(b - a)), which loses no digits in either tail.
        """
        precision = torch.exp(-log_scale)
        half = 1 / (self.levels - 1)
        log_below = functional.logsigmoid((offset + half) * precision)
        log_above = functional.logsigmoid((half - offset) * precision)
        inner = log_below + log_above + torch.log(-torch.expm1(-2 * half * precision))
        return torch.where(
            level < 0.5, log_below, torch.where(level > self.levels - 1.5, log_above, inner)
        )


def _spread_draws(shape: tuple[int, ...]) -> Tensor:
    """(DRAWS, C, H, W) in [0, 1]: a rank-one lattice in C dimensions, shifted for each pixel.

    Each channel's draws are evenly spaced; shifts by multiples of irrational numbers, as those of
    a Kronecker sequence, let the pixels' errors cancel in sums over an image.
    """
    channels, height, width = shape
    channel = torch.arange(channels, dtype=torch.float64)
    pixel = torch.arange(height * width, dtype=torch.float64)
    draw = torch.arange(DRAWS, dtype=torch.float64)
    lattice = torch.outer(draw, 2 * channel + 1)[:, :, None] / DRAWS
    shift = torch.outer(torch.sqrt(4 * channel + 2), pixel)
    return ((lattice + shift + 0.5 / DRAWS) % 1).reshape(DRAWS, channels, height, width)


def _choose(weights: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """One-hot component (..., M, H, W) by inversion, and the draw's place within its share."""
    upper = weights.cumsum(-3)
    passed = (uniform.unsqueeze(-3) >= upper).sum(-3, keepdim=True)
    components = torch.arange(weights.shape[-3], device=weights.device).reshape(-1, 1, 1)
    chosen = (components == passed.clamp_max(weights.shape[-3] - 1)).to(weights.dtype)
    share = (chosen * weights).sum(-3)
    lower = (chosen * (upper - weights)).sum(-3)
    return chosen, ((uniform - lower) / share).clamp(0, 1)
