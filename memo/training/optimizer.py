"""The optimizer: Adam, with decoupled weight decay and a learning rate on a schedule."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from memo.spec import CosineSpec, ScheduleSpec, StepSpec
from memo.training.plan import TrainingPlan
from memo.training.stack import Stack

__all__ = ["Adam", "build_optimizer", "rate_factor", "set_learning_rate"]


class Adam(torch.optim.AdamW):
    """Adam (Kingma & Ba 2015) whose weights decay as in AdamW, by one fused operation a group.

    torch's own step comes to the same operations, and takes longer to gather what they are called
    with than a small stack takes for all of its arithmetic.

    Args:
        parameters: What is optimized.
        decays: The decay of each parameter.
        rate: The learning rate.
    """

    def __init__(self, parameters: Sequence[Tensor], decays: Sequence[float], rate: float) -> None:
        self._positions = [
            [position for position, decay in enumerate(decays) if decay == of_group]
            for of_group in dict.fromkeys(decays)
        ]
        super().__init__(
            [
                {"params": [parameters[p] for p in own], "weight_decay": decays[own[0]]}
                for own in self._positions
            ],
            lr=rate,
            fused=True,
        )
        self._moments = [
            [[torch.zeros_like(parameters[p]) for p in own] for _ in range(2)]
            for own in self._positions
        ]
        self._steps = torch.zeros((), device=parameters[0].device)

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter by its `grad`."""
        found = {
            position: parameter.grad
            for own, group in zip(self._positions, self.param_groups, strict=True)
            for position, parameter in zip(own, group["params"], strict=True)
        }
        self.update([found[position] for position in range(len(found))])

    @torch.no_grad()
    def update(self, gradients: Sequence[Tensor]) -> None:
        """Update every parameter by its gradient, in the same layout."""
        self._steps += 1
        for own, group, (first, second) in zip(
            self._positions, self.param_groups, self._moments, strict=True
        ):
            torch._fused_adamw_(
                group["params"],
                [gradients[position] for position in own],
                first,
                second,
                [],
                [self._steps] * len(own),
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
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


def set_learning_rate(optimizer: torch.optim.Optimizer, plan: TrainingPlan, epoch: int) -> None:
    """Set the rate of an epoch, counted from 1."""
    if plan.schedule is None:
        return
    rate = plan.learning_rate * rate_factor(plan.schedule, epoch, plan.epochs)
    for group in optimizer.param_groups:
        group["lr"] = rate


def rate_factor(schedule: ScheduleSpec, epoch: int, epochs: int) -> float:
    """Factor on the learning rate in an epoch, counted from 1; 1 in the first."""
    match schedule:
        case CosineSpec():
            fall = (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2
            return schedule.final + (1 - schedule.final) * fall
        case StepSpec():
            return float(schedule.factor ** ((epoch - 1) // schedule.every))
