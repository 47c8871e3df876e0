"""Variational autoencoder."""

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from memo.models.networks import build_networks
from memo.models.observations import build_observation
from memo.spec.model_specs import VAESpec

__all__ = ["VAE", "divergence_from_prior"]


class VAE(nn.Module):
    """p(x) = E_{N(z; 0, I)}[p(x | z)], trained on the evidence lower bound (Kingma & Welling 2014).

    Args:
        spec: Networks, number of latent variables and observation model.
        shape: Shape of an observation, without a batch axis.
    """

    def __init__(self, spec: VAESpec, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.latent = spec.latent
        self.noise_features = spec.latent
        self.variance_floor = spec.posterior_variance_floor
        self.observation = build_observation(spec.observation, shape)
        self.encoder, self.decoder = build_networks(
            spec.network, shape, spec.latent, self.observation.parameter_shape
        )

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of q(z | x): (B, *shape) -> (B, d), (B, d)."""
        mean, log_variance = self.encoder(self.observation.encoder_input(x)).chunk(2, dim=-1)
        if self.variance_floor is not None:
            log_floor = torch.full_like(log_variance, math.log(self.variance_floor))
            log_variance = torch.logaddexp(log_variance, log_floor)
        return mean, log_variance / 2

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
    if torch.is_grad_enabled():
        return cast(Tensor, _Divergence.apply(mean, log_std))
    return _divergence(mean, log_std)


def _divergence(mean: Tensor, log_std: Tensor) -> Tensor:
    return 0.5 * (mean.square() + torch.exp(2 * log_std) - 1 - 2 * log_std)


class _Divergence(torch.autograd.Function):
    """The divergence with its derivatives, m and s^2 - 1, written out.

    Autograd would go through each of its terms, in a dozen operations where five give the same to
    the bit.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(mean: Tensor, log_std: Tensor) -> Tensor:
        return _divergence(mean, log_std)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = ctx.saved_tensors
        return gradient * mean, gradient * torch.exp(2 * log_std) - gradient
