"""The optimizer: Adam, with decoupled weight decay and a learning rate on a schedule."""

import math

import torch

from memo.spec import CosineSpec, ScheduleSpec, StepSpec
from memo.training.plan import TrainingPlan
from memo.training.stack import Stack

__all__ = ["build_optimizer", "rate_factor", "set_learning_rate"]


def build_optimizer(stack: Stack, plan: TrainingPlan) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015) on a stack's parameters; weights decay as in AdamW.

    Decoupled (Loshchilov & Hutter 2019, Algorithm 2): w <- w - rate * decay * w beside Adam's
    step. Biases, normalizations and variances, which are vectors in each model, do not decay.
    """
    if plan.weight_decay == 0:
        return torch.optim.Adam(stack.parameters, lr=plan.learning_rate, fused=True)
    matrices = stack.matrices()
    decaying = set(map(id, matrices))
    vectors = [parameter for parameter in stack.parameters if id(parameter) not in decaying]
    groups = [
        {"params": matrices, "weight_decay": plan.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, fused=True)


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
