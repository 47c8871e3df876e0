"""log p(x) by annealed importance sampling: slow, and by weights of its own."""

import torch
from torch import Tensor

from memo.likelihood.decoding import pieces
from memo.likelihood.estimators.chains import AnnealingPath, anneal
from memo.likelihood.importance_weights import LogLikelihood, concatenate, from_weights
from memo.likelihood.proposals.gradients import approximate_by_gradients
from memo.likelihood.proposals.latent_gaussian import encoder_gaussian
from memo.models.protocols import LatentVariableModel

LEAPFROG_STEPS = 5
"""Leapfrog steps between two temperatures."""

STEP_SIZE = 0.2
"""First size of a leapfrog step, in standard deviations of the Gaussian."""

STEERING = 0.1
"""Rate at which each observation's step size follows its chains' share of accepted moves."""

WIDENING = 1.2
"""Factor on the Gaussian's standard deviations, so that chains start with more spread than they
need."""


def annealed_log_likelihood(
    model: LatentVariableModel, x: Tensor, temperatures: int, chains: int, seed: int
) -> LogLikelihood:
    """log p(x) from chains that move from a wide Gaussian to the posterior, see `anneal`.

    With many temperatures it is the reference of Wu et al. 2017, On the quantitative analysis of
    decoder-based generative models, section 3. The Gaussian is found from gradients, `adaptive`'s
    for MLP decoders from moments. From the encoder's, which may lie far below the posterior's mass,
    chains do not get there.

    Args:
        model: The latent-variable model.
        x: Observations, (n, *shape), on the model's device.
        temperatures: Steps from q to the posterior, at least 2.
        chains: Chains for each observation; each counts as one of `samples`.
        seed: Seed of starts, momenta and acceptances.

    For x = z + noise, both standard normal, p(x) = N(x; 0, 2):

    >>> from memo.models.observations.gaussian import Gaussian
    >>> class Sum(torch.nn.Module):
    ...     latent, observation = 1, Gaussian((1,))
    ...     def encode(self, x):
    ...         return torch.zeros_like(x), torch.zeros_like(x)
    ...     def decode(self, z):
    ...         return z
    >>> x = torch.tensor([[0.0], [3.0]])
    >>> estimate = annealed_log_likelihood(Sum(), x, temperatures=10, chains=50, seed=0)
    >>> exact = torch.distributions.Normal(0, 2**0.5).log_prob(x[:, 0]).numpy()
    >>> bool((abs(estimate.value - exact) < 3 * estimate.std_error).all())
    True
    """
    generator = torch.Generator().manual_seed(seed)
    return concatenate(
        [
            from_weights(_log_weights(model, x[rows], temperatures, chains, generator))
            for rows in pieces(len(x), chains, x[0].numel(), x.device)
        ]
    )


def _log_weights(
    model: LatentVariableModel,
    x: Tensor,
    temperatures: int,
    chains: int,
    generator: torch.Generator,
) -> Tensor:
    """Logarithms of the chains' weights, (chains, n)."""
    with torch.no_grad():
        found = approximate_by_gradients(model, x, encoder_gaussian(model, x))
    q = found.widened(WIDENING)
    path = AnnealingPath(model, x, q, q, LEAPFROG_STEPS)
    shape = (chains, *q.mean.shape)

    def draws(_: int) -> tuple[Tensor, Tensor]:
        momentum = torch.randn(shape, generator=generator)
        return momentum.to(x), torch.rand(shape[:2], generator=generator).to(x)

    z = q.draw(torch.randn(shape, generator=generator).to(x))
    step_size = x.new_full((len(x),), STEP_SIZE)
    _, log_weights, _ = anneal(path, z, temperatures, step_size, draws, STEERING)
    return log_weights
