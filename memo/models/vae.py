"""Variational autoencoder."""

from typing import cast

import torch
from torch import Tensor, nn

from memo.models.networks import build_networks
from memo.models.observations import build_observation
from memo.models.observations.gaussian import log_floored
from memo.spec.model_specs import VAESpec


class VAE(nn.Module):
    """p(x) = E_{N(z; 0, I)}[p(x | z)], trained on the evidence lower bound (Kingma & Welling 2014).

    Args:
        spec: Networks, number of latent variables and observation model.
        shape: Shape of an observation, without a batch axis.

    Example:
        With all weights at zero, q(z | x) is the prior and each binary pixel a fair coin, so that
        the loss is log 2 a pixel.

        >>> import math
        >>> model = VAE(VAESpec(kind="vae", network={"kind": "mlp"}, latent=2), shape=(1, 2, 2))
        >>> for parameter in model.parameters():
        ...     _ = nn.init.zeros_(parameter)
        >>> loss = model.loss(torch.ones(1, 1, 2, 2), noise=torch.randn(1, 2))
        >>> math.isclose(loss.item(), 4 * math.log(2), rel_tol=1e-6)
        True
    """

    def __init__(self, spec: VAESpec, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.latent = spec.latent
        self.noise_features = spec.latent
        self.variance_floor = spec.posterior_variance_floor
        self.observation = build_observation(spec.observation, shape)
        self.encoder, self.decoder = build_networks(
            spec.network, shape, 2 * spec.latent, spec.latent, self.observation.parameter_shape
        )

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of q(z | x): (B, *shape) -> (B, d), (B, d)."""
        mean, log_variance = self.encoder(self.observation.encoder_input(x)).chunk(2, dim=-1)
        return mean, log_floored(log_variance, self.variance_floor) / 2

    def decode(self, z: Tensor) -> Tensor:
        """Parameters of p(x | z): (..., d) -> (..., *parameter shape)."""
        return cast(Tensor, self.decoder(z))

    def loss(self, x: Tensor, noise: Tensor) -> Tensor:
        """Negative evidence lower bound (Kingma & Welling 2014, eq. 10, one draw): (B,) nats."""
        mean, log_std = self.encode(x)
        z = mean + torch.exp(log_std) * noise
        reconstruction = self.observation.log_prob(x, self.decode(z))
        return divergence_from_prior(mean, log_std).sum(-1) - reconstruction

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """x ~ p(x | z), z from the prior: (count, *shape)."""
        z = torch.randn(count, self.latent, generator=generator)
        uniform = torch.rand(count, *self.shape, generator=generator)
        weights = next(self.parameters())
        return self.observation.sample(self.decode(z.to(weights)), uniform.to(weights))


def divergence_from_prior(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mean, std^2) || N(0, 1)) of each latent variable: (..., d)."""
    return 0.5 * (mean.square() + torch.exp(2 * log_std) - 1 - 2 * log_std)
