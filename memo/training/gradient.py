"""Gradients of a stack's objective, for one step after another."""

import torch
from torch import Tensor

from memo.training.recorded import NotRecordedError, Program, record
from memo.training.stack import Stack

__all__ = ["Gradient"]

RECORDED_STEPS = 200
"""Recording a step takes as long as it saves in about so many."""


class Gradient:
    """Recorded where that pays and the model lets it, which the results do not show.

    Args:
        stack: Whose objective.
        steps: How many are to come.
    """

    def __init__(self, stack: Stack, steps: int) -> None:
        self._stack = stack
        self._records = steps >= RECORDED_STEPS
        self._programs: dict[torch.Size, Program] = {}

    @torch.no_grad()  # the gradient that is asked for is computed all the same
    def __call__(self, x: Tensor, noise: Tensor, weight: Tensor) -> list[Tensor]:
        """As `Stack.gradient`, at the stack's weights."""
        parameters, buffers = self._stack.parameters, self._stack.buffers
        if self._records and x.shape not in self._programs:
            try:
                self._programs[x.shape] = record(
                    self._stack.gradient, [x, noise, weight, *parameters], buffers
                )
            except NotRecordedError:
                self._records = False
        gradient = self._programs[x.shape].forward if self._records else self._stack.gradient
        return gradient(x, noise, weight, *parameters, *buffers)
