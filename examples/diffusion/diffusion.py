"""A small diffusion model of a few dozen columns, with the exact density of its flow.

Variance preserving and in continuous time: at an angle a between 0 (data) and pi / 2 (noise),
z = cos(a) x + sin(a) e, and dz / da = v = cos(a) e - sin(a) x (Salimans & Ho 2022, appendix D).
A network learns the mean of v given z. With it in place of v, dz / da = v is the probability-flow
equation (Song et al. 2021, section 4.3), which carries the density of the data to that of noise.
"""

import math
from math import prod

import torch
from torch import Tensor, nn


class Diffusion(nn.Module):
    """The network has two hidden layers, so that its divergence costs no more than its value."""

    def __init__(self, shape, hidden=128, smallest=0.02, steps=16):
        super().__init__()
        self.shape, self.columns = shape, prod(shape)
        self.smallest, self.steps = smallest, steps
        self.noise_features = 1 + self.columns
        self.first = nn.Linear(self.columns + 2, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, self.columns)

    def loss(self, x: Tensor, noise: Tensor) -> Tensor:
        """One draw of the variational bound on -log p(x) (Kingma et al. 2021), nats: (B,).

        With u = log sin(a) drawn evenly from log(smallest) to 0, it weighs all errors of v alike.
        """
        x, e = x.flatten(1), noise[:, 1:]
        length = -math.log(self.smallest)
        sin = torch.exp(-length * torch.special.ndtr(noise[:, :1]))
        cos = torch.sqrt(1 - sin**2)
        velocity, _ = self.velocity(cos * x + sin * e, torch.asin(sin))
        error = (velocity - (cos * e - sin * x)).square().sum(1)
        variance = self.smallest**2 / (1 - self.smallest**2)
        return length * error + self.columns / 2 * (1 + math.log(2 * math.pi * variance))

    def log_prob(self, x: Tensor) -> Tensor:
        """log N(z(pi / 2); 0, I) + the integral of the flow's divergence: (B,)."""
        z, total = x.flatten(1), x.new_zeros(len(x))
        step = math.pi / 2 / self.steps
        for k in range(self.steps):
            z, divergence = self.carried(z, k * step, step)
            total = total + divergence
        return total - (z.square().sum(1) + self.columns * math.log(2 * math.pi)) / 2

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Noise, carried back to the data: (count, *shape)."""
        z = torch.randn(count, self.columns, generator=generator).to(self.last.weight)
        step = math.pi / 2 / self.steps
        for k in range(self.steps, 0, -1):
            z, _ = self.carried(z, k * step, -step)
        return z.reshape(count, *self.shape)

    def velocity(self, z: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
        """The network's v at z (B, columns) and angles (B, 1), and its divergence in z, (B,)."""
        one = torch.tanh(self.first(torch.cat([z, torch.sin(angle), torch.cos(angle)], 1)))
        two = torch.tanh(self.second(one))
        paths = self.second.weight * (self.first.weight[:, : self.columns] @ self.last.weight).T
        divergence = ((1 - two**2) @ paths * (1 - one**2)).sum(1)
        return self.last(two), divergence

    def carried(self, z: Tensor, angle: float, step: float) -> tuple[Tensor, Tensor]:
        """z after a step of the fourth-order method, and what its density gained: (B,)."""
        at = z.new_full((len(z), 1), angle)
        v1, d1 = self.velocity(z, at)
        v2, d2 = self.velocity(z + step / 2 * v1, at + step / 2)
        v3, d3 = self.velocity(z + step / 2 * v2, at + step / 2)
        v4, d4 = self.velocity(z + step * v3, at + step)
        sixth = step / 6
        return z + sixth * (v1 + 2 * v2 + 2 * v3 + v4), sixth * (d1 + 2 * d2 + 2 * d3 + d4)
