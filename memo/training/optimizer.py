"""The optimizer: Adam with decoupled weight decay."""

from collections.abc import Sequence

import torch
from torch import Tensor

from memo.mitigations.training_plan import TrainingPlan
from memo.training.stack import MOMENTUM, Stack

SQUARES = 0.999
"""Part of the mean of squared gradients that Adam keeps in a step."""

EPSILON = 1e-8


class Adam:
    """Adam (Kingma & Ba 2015) with decoupled decay, one fused operation for each rate of decay.

    `torch.optim.AdamW` gives the same, but takes longer to gather its arguments than a small stack
    takes for all of its arithmetic, and imports torch's compiler.

    Args:
        parameters: Tensors that are optimized.
        decays: Decay of each of them.
        rate: Learning rate.
        momentum: Part of the mean of gradients that is kept in a step.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        decays: Sequence[float],
        rate: float,
        momentum: float = MOMENTUM,
    ) -> None:
        self.parameters = list(parameters)
        self.rate = rate
        self.momentum = momentum
        self._moments = [[torch.zeros_like(p) for p in parameters] for _ in range(2)]
        self._steps = torch.zeros((), device=parameters[0].device)
        self._groups = {
            decay: [position for position, other in enumerate(decays) if other == decay]
            for decay in decays
        }

    @torch.no_grad()
    def update(self, gradients: Sequence[Tensor]) -> None:
        """Update each parameter by its gradient, which has the same layout."""
        self._steps += 1
        for decay, positions in self._groups.items():
            parameters, own, first, second = (
                [tensors[position] for position in positions]
                for tensors in (self.parameters, gradients, *self._moments)
            )
            torch._fused_adamw_(
                parameters,
                own,
                first,
                second,
                [],
                [self._steps] * len(positions),
                lr=self.rate,
                beta1=self.momentum,
                beta2=SQUARES,
                weight_decay=decay,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )


def build_optimizer(stack: Stack, plan: TrainingPlan) -> Adam:
    """Make Adam for a stack's parameters, with decoupled weight decay.

    Decoupled (Loshchilov & Hutter 2019, Algorithm 2): w <- w - rate * decay * w beside Adam's
    step. Biases, normalizations and variances, which are vectors in each model, do not decay.
    """
    decaying = set(map(id, stack.matrices()))
    decays = [plan.weight_decay if id(p) in decaying else 0.0 for p in stack.parameters]
    return Adam(stack.parameters, decays, plan.learning_rate, stack.momentum)
