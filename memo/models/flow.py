"""Normalizing flows."""

import math
from math import prod

import torch
from torch import Tensor, nn
from zuko.flows import MAF, NSF

from memo.models.custom import ByLikelihood
from memo.spec.model_specs import FlowSpec


class Flow(ByLikelihood, nn.Module):
    """log p(x) = log N(f(x); 0, I) + log |det df/dx|, f a sequence of invertible transformations.

    The transformations are zuko's: masked autoregressive (Papamakarios et al. 2017), neural
    spline (Durkan et al. 2019), or affine coupling (Dinh et al. 2017), which is the masked
    autoregressive one with two groups of columns instead of d.

    Args:
        spec: Kind, number and width of the transformations.
        shape: Shape of an observation; its entries are the d columns.

    Example:
        The density integrates to one.

        >>> from memo.models.build import initial_model
        >>> model = initial_model(FlowSpec(kind="flow", architecture="maf"), shape=(1,), seed=0)
        >>> x = torch.linspace(-40, 40, 4001)
        >>> mass = torch.trapezoid(model.log_prob(x[:, None]).exp(), x)
        >>> round(mass.item(), 3)
        1.0
    """

    def __init__(self, spec: FlowSpec, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.columns = prod(shape)
        family = NSF if spec.architecture == "nsf" else MAF
        self.flow = family(
            self.columns,
            transforms=spec.transforms,
            hidden_features=tuple(spec.hidden),
            passes=2 if spec.architecture == "coupling" else None,
        )

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x): (B, *shape) -> (B,)."""
        z, log_determinant = self.flow().transform.call_and_ladj(x.flatten(1))
        log_base = -0.5 * (z.square().sum(-1) + self.columns * math.log(2 * math.pi))
        return log_base + log_determinant  # type: ignore[no-any-return]

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """f^-1 of standard normal draws: (count, *shape)."""
        z = torch.randn(count, self.columns, generator=generator)
        z = z.to(next(self.parameters()))
        return self.flow().transform.inv(z).reshape(count, *self.shape)  # type: ignore[no-any-return]
