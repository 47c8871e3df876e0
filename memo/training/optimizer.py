"""The optimizer: Adam, with decoupled weight decay and a learning rate on a schedule."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from memo.mitigations.specs import CosineSpec, ScheduleSpec, StepSpec
from memo.mitigations.training_plan import TrainingPlan
from memo.training.stack import Stack

__all__ = ["Adam", "build_optimizer", "rate_factor", "set_learning_rate"]


BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Adam:
    """Adam (Kingma & Ba 2015) whose weights decay as in AdamW, by one fused operation a group.

    `torch.optim.AdamW` comes to the same operations, takes longer to gather what they are called
    with than a small stack takes for all of its arithmetic, and imports a compiler when it is made.

    Args:
        parameters: What is optimized.
        decays: The decay of each parameter.
        rate: The learning rate.
    """

    def __init__(self, parameters: Sequence[Tensor], decays: Sequence[float], rate: float) -> None:
        self.parameters = list(parameters)
        self.rate = rate
        self._moments = [[torch.zeros_like(p) for p in parameters] for _ in range(2)]
        self._steps = torch.zeros((), device=parameters[0].device)
        self._groups = {
            decay: [position for position, other in enumerate(decays) if other == decay]
            for decay in decays
        }

    @torch.no_grad()
    def update(self, gradients: Sequence[Tensor]) -> None:
        """Take one step: update each parameter by its gradient, which has the same layout."""
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
                beta1=BETAS[0],
                beta2=BETAS[1],
                weight_decay=decay,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )


def build_optimizer(stack: Stack, plan: TrainingPlan) -> Adam:
    """Adam on a stack's parameters, with decoupled weight decay.

    Decoupled (Loshchilov & Hutter 2019, Algorithm 2): w <- w - rate * decay * w beside Adam's
    step. Biases, normalizations and variances, which are vectors in each model, do not decay.
    """
    decaying = set(map(id, stack.matrices()))
    decays = [plan.weight_decay if id(p) in decaying else 0.0 for p in stack.parameters]
    return Adam(stack.parameters, decays, plan.learning_rate)


def set_learning_rate(optimizer: Adam, plan: TrainingPlan, epoch: int) -> None:
    """Set the rate of an epoch, counted from 1."""
    if plan.schedule is not None:
        optimizer.rate = plan.learning_rate * rate_factor(plan.schedule, epoch, plan.epochs)


def rate_factor(schedule: ScheduleSpec, epoch: int, epochs: int) -> float:
    """Factor on the learning rate in an epoch, counted from 1; 1 in the first."""
    match schedule:
        case CosineSpec():
            fall = (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2
            return schedule.final + (1 - schedule.final) * fall
        case StepSpec():
            return float(schedule.factor ** ((epoch - 1) // schedule.every))
