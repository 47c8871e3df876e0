"""Generative adversarial networks."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from memo.models.networks import build_players
from memo.spec.model_specs import GANSpec

TINY = 1e-12
"""Added to a squared norm, whose root has no derivative at 0."""


class GAN(nn.Module):
    """x = g(z) with standard normal z, g trained against a critic (Goodfellow et al. 2014).

    Both players take their steps at once, down the gradient of one sum: the critic's loss, in which
    samples do not depend on the generator, and the generator's, in which the critic's weights are
    constants. So a training step is that of any other model, and models are trained in stacks.

    Args:
        spec: Networks, number of latent variables, losses, and the mean of weights.
        shape: Shape of an observation, without a batch axis.

    Example:
        Of a critic that says 0 to everything, the hinge loss is 1 for an observation and 1 for a
        sample, and there is no gradient to penalize.

        >>> model = GAN(GANSpec(kind="gan", network={"kind": "mlp"}, latent=2), shape=(3,))
        >>> for parameter in model.critic.parameters():
        ...     _ = nn.init.zeros_(parameter)
        >>> model.loss(torch.zeros(1, 3), noise=torch.zeros(1, 3)).item()
        2.0
    """

    def __init__(self, spec: GANSpec, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.latent = spec.latent
        self.noise_features = spec.latent + 1
        self.wasserstein = spec.loss == "wasserstein-gp"
        self.penalty = spec.penalty
        self.average = spec.average
        self.momentum = spec.momentum
        self.critic, self.generator = build_players(spec.network, shape, spec.latent)
        self._means = {}
        for name, parameter in self.generator.named_parameters():
            buffer = f"mean_{name.replace('.', '_')}"
            self.register_buffer(buffer, parameter.detach().clone())
            self._means[buffer] = name

    def gradient_momentum(self) -> float:
        """Part of the mean of gradients that Adam keeps in a step."""
        return self.momentum

    def running_means(self) -> tuple[float, dict[str, str]]:
        """Part that a running mean keeps in a step, and parameters by the buffer of their mean."""
        return self.average, {buffer: f"generator.{name}" for buffer, name in self._means.items()}

    def loss(self, x: Tensor, noise: Tensor) -> Tensor:
        """Sum of both players' losses, (B,); the noise makes a sample, and a place beside it."""
        sample = self.generator(noise[:, :-1])
        still = sample.detach()
        constant = {name: value.detach() for name, value in self.critic.named_parameters()}
        judged = torch.func.functional_call(self.critic, constant, (sample,))[:, 0]
        real, false = self.critic(x)[:, 0], self.critic(still)[:, 0]
        if self.wasserstein:
            share = _share(noise[:, -1]).reshape(-1, *[1] * len(self.shape))
            slope = self._squared_slope(still + share * (x - still))
            penalty = self.penalty * ((slope + TINY).sqrt() - 1).square()
            return cast(Tensor, false - real + penalty - judged)
        margins = torch.relu(1 - real) + torch.relu(1 + false)
        penalty = 0.5 * self.penalty * self._squared_slope(x)
        return cast(Tensor, margins + penalty - judged)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """g(z), by the running mean of the generator's weights: (count, *shape)."""
        z = torch.randn(count, self.latent, generator=generator)
        means = {name: getattr(self, buffer) for buffer, name in self._means.items()}
        z = z.to(next(iter(means.values())))
        return cast(Tensor, torch.func.functional_call(self.generator, means, (z,)))

    def _squared_slope(self, x: Tensor) -> Tensor:
        """Squared norm of the critic's gradient at each of (B, *shape): (B,)."""
        slopes = torch.func.grad(lambda at: self.critic(at).sum())(x)
        return cast(Tensor, slopes.flatten(1).square().sum(1))


def _share(normal: Tensor) -> Tensor:
    """Uniform draws from standard normal ones."""
    return 0.5 * (1 + torch.erf(normal / math.sqrt(2)))
