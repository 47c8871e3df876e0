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

    def update(self, gradients: Sequence[Tensor]) -> None:
        """Update every parameter by its gradient, in the same layout."""
        self.begin()
        self.apply(range(len(gradients)), gradients)

    @torch.no_grad()
    def begin(self) -> None:
        """Count a step, in which `apply` is then to update each parameter once."""
        self._steps += 1

    @torch.no_grad()
    def apply(self, positions: Sequence[int], gradients: Sequence[Tensor]) -> None:
        """Update the parameters at these positions by their gradients, in the same layout."""
        for decay, of_group in self._groups.items():
            own = [i for i, position in enumerate(positions) if position in of_group]
            if not own:
                continue
            chosen = [positions[i] for i in own]
            parameters, first, second = (
                [tensors[position] for position in chosen]
                for tensors in (self.parameters, *self._moments)
            )
            torch._fused_adamw_(
                parameters,
                [gradients[i] for i in own],
                first,
                second,
                [],
                [self._steps] * len(own),
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
