"""Small latent-variable models whose log p(x) is known."""

import math

import torch
from torch import Tensor, nn

from memo.models.networks import MLPDecoder
from memo.models.observations.bernoulli import Bernoulli
from memo.models.vae import VAE


class Gaussian(nn.Module):
    """Independent pixels N(parameters, std^2)."""

    def __init__(self, pixels: int, std: float) -> None:
        super().__init__()
        self.shape = self.parameter_shape = (pixels,)
        self.std = std

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        constant = math.log(self.std) + 0.5 * math.log(2 * math.pi)
        return (-0.5 * ((x - parameters) / self.std).square() - constant).sum(-1)

    def fisher_information(self, parameters: Tensor) -> Tensor:
        return torch.full_like(parameters, self.std**-2)

    def sample(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        return parameters + self.std * torch.special.ndtri(uniform)


class LinearGaussian(nn.Module):
    """x = W z + b + std noise, so that p(x) = N(b, W W^T + std^2 I); the encoder is mean-field."""

    def __init__(self, pixels: int, latent: int, std: float, dtype: torch.dtype) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.latent = latent
        self.observation = Gaussian(pixels, std)
        self.weight = torch.randn(pixels, latent, generator=generator).to(dtype)
        self.bias = torch.randn(pixels, generator=generator).to(dtype)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        identity = torch.eye(self.latent, dtype=x.dtype)
        precision = identity + self.weight.T @ self.weight / self.observation.std**2
        mean = (x - self.bias) @ self.weight / self.observation.std**2 @ torch.inverse(precision)
        std = torch.inverse(precision).diagonal().sqrt()
        return mean + 0.1 * std, (1.2 * std).log().expand_as(mean)

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.weight.T + self.bias

    def marginal(self) -> torch.distributions.MultivariateNormal:
        noise = self.observation.std**2 * torch.eye(len(self.bias), dtype=self.bias.dtype)
        return torch.distributions.MultivariateNormal(
            self.bias, self.weight @ self.weight.T + noise
        )


class Perceptron(nn.Module):
    """A one-dimensional latent variable, a ReLU network, and binary pixels."""

    def __init__(self, pixels: int, scale: float, latent: int = 1) -> None:
        super().__init__()
        self.latent = latent
        self.observation = Bernoulli((pixels,))
        self.encoder_std = 0.5
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.decoder = MLPDecoder(latent, [16], (pixels,))
        with torch.no_grad():
            for parameter in self.decoder.parameters():
                parameter.mul_(scale)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = 0.3 * x[:, :1].expand(-1, self.latent)
        return mean, torch.full_like(mean, math.log(self.encoder_std))

    decode = VAE.decode


class TwoModes(nn.Module):
    """Logits 4 (|z| - 1.5): symmetric posteriors, of which the encoder knows one half."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.latent = 1
        self.observation = Bernoulli((pixels,))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = torch.full_like(x[:, :1], 1.5)
        return mean, torch.full_like(mean, math.log(0.1))

    def decode(self, z: Tensor) -> Tensor:
        logits = 4 * (z.abs() - 1.5)
        return logits.expand(*logits.shape[:-1], *self.observation.shape)


class Convolutional(nn.Module):
    """Two latent variables, transposed convolutions, 8 x 8 binary pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.latent = 2
        self.observation = Bernoulli((1, 8, 8))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.decoder = nn.Sequential(
                nn.Linear(2, 32),
                nn.Unflatten(-1, (8, 2, 2)),
                nn.SiLU(),
                nn.ConvTranspose2d(8, 8, 4, 2, 1),
                nn.SiLU(),
                nn.ConvTranspose2d(8, 1, 4, 2, 1),
            )
        with torch.no_grad():
            self.decoder[0].weight.mul_(4)
            self.decoder[-1].weight.mul_(4)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(x), 2), torch.zeros(len(x), 2)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z.flatten(0, -2)).unflatten(0, z.shape[:-1])


def draw(model: nn.Module, count: int, seed: int) -> Tensor:
    """Observations from the model itself."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(count, model.latent, generator=generator)
    with torch.no_grad():
        parameters = model.decode(z)
    return model.observation.sample(parameters, torch.rand(parameters.shape, generator=generator))


@torch.no_grad()
def quadrature(model: nn.Module, x: Tensor) -> Tensor:
    """log p(x) by the trapezoid rule over one or two latent variables, in float64."""
    side = torch.linspace(-6, 6, 2001 if model.latent == 1 else 161, dtype=torch.float64)
    z = torch.cartesian_prod(*[side] * model.latent).reshape(-1, model.latent)
    parameters = model.decode(z.float())
    likelihood = torch.stack([model.observation.log_prob(row, parameters) for row in x]).double()
    log_prior = -0.5 * z.square().sum(-1) - 0.5 * model.latent * math.log(2 * math.pi)
    return torch.logsumexp(likelihood + log_prior, 1) + model.latent * math.log(side[1] - side[0])
