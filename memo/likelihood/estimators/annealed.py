"""log p(x) by annealed importance sampling: slow, and by weights of its own."""

import numpy as np
import torch
from torch import Tensor

from memo.likelihood.decoding import pieces
from memo.likelihood.estimators.chains import Path, anneal
from memo.likelihood.proposals.gradients import approximate
from memo.likelihood.proposals.latent_gaussian import Gaussian, encoder_gaussian
from memo.likelihood.weights import LogLikelihood, concatenate, log_mean_exp, pareto_k
from memo.models.protocols import LatentVariableModel

__all__ = ["annealed_log_likelihood"]

LEAPFROG_STEPS = 5

STEERING = 0.1
"""How fast each observation's step size follows the share of its chains' moves that is accepted."""

WIDENING = 1.2
"""Of the Gaussian's standard deviations, so that chains start with more spread than they need."""


def annealed_log_likelihood(
    model: LatentVariableModel, x: Tensor, temperatures: int, chains: int, seed: int
) -> LogLikelihood:
    """log p(x) from chains that move from a wide Gaussian to the posterior, see `anneal`.

    Of many temperatures it is the reference of Wu et al. 2017, On the quantitative analysis of
    decoder-based generative models, section 3. The Gaussian is found from gradients, `adaptive`'s
    for MLP decoders from moments. From the encoder's, which on colour images under a convolutional
    decoder lies hundreds of nats below the posterior's mass, chains do not get there.

    Args:
        model: The latent-variable model.
        x: Observations, (n, *shape), on the model's device.
        temperatures: Steps from q to the posterior.
        chains: Chains for each observation; each counts as one of `samples`.
        seed: Seed of starts, momenta and acceptances.
    """
    generator = torch.Generator().manual_seed(seed)
    estimates = []
    for rows in pieces(len(x), chains, x[0].numel(), x.device):
        log_weights = _anneal(model, x[rows], temperatures, chains, generator)
        value, std_error, effective = (part.numpy() for part in log_mean_exp(log_weights))
        samples = np.full(len(value), chains, dtype=np.int64)
        k = pareto_k(log_weights)
        estimates.append(LogLikelihood(value, std_error, effective, samples, k))
    return concatenate(estimates)


def _anneal(
    model: LatentVariableModel,
    x: Tensor,
    temperatures: int,
    chains: int,
    generator: torch.Generator,
) -> Tensor:
    """Logarithms of the chains' weights, (chains, n)."""
    with torch.no_grad():
        start = approximate(model, x, encoder_gaussian(model, x))
    q = Gaussian(start.mean, WIDENING * start.factor)
    path = Path(model, x, q, q.factor, LEAPFROG_STEPS)
    shape = (chains, *q.mean.shape)

    def draws(_: int) -> tuple[Tensor, Tensor]:
        momentum = torch.randn(shape, generator=generator)
        return momentum.to(x), torch.rand(shape[:2], generator=generator).to(x)

    z = q.draw(torch.randn(shape, generator=generator).to(x))
    step_size = x.new_full((len(x),), 0.2)
    _, log_weights, _ = anneal(path, z, temperatures, step_size, draws, STEERING)
    return log_weights
