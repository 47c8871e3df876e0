"""Gradients of a stack's objective, for one step after another."""

import torch
from torch import Tensor

from memo.errors import InputError
from memo.spec import Precision
from memo.training.memory import plan_memory
from memo.training.precision import multiply_in_bfloat16
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
        precision: Of products; in bfloat16, gradients are recorded whatever their number.
    """

    def __init__(self, stack: Stack, steps: int, precision: Precision = "float32") -> None:
        self._stack = stack
        self._precision = precision
        self._records = precision == "bfloat16" or steps >= RECORDED_STEPS
        self._programs: dict[torch.Size, Program] = {}

    @torch.no_grad()  # the gradient that is asked for is computed all the same
    def __call__(self, x: Tensor, noise: Tensor, weight: Tensor) -> list[Tensor]:
        """As `Stack.gradient`, at the stack's weights. Holds until the next call.

        Raises:
            InputError: Products are to be in bfloat16, and the model cannot be recorded.
        """
        state = [*self._stack.parameters, *self._stack.buffers]
        if self._records and x.shape not in self._programs:
            self._record(x, noise, weight)
        if not self._records:
            return self._stack.gradient(x, noise, weight, *state)
        program = self._programs[x.shape].forward
        gradient: list[Tensor] = program(x, noise, weight, *([] if _planned(x) else state))
        return gradient

    def _record(self, x: Tensor, noise: Tensor, weight: Tensor) -> None:
        parameters, buffers = self._stack.parameters, self._stack.buffers
        try:
            program = record(self._stack.gradient, [x, noise, weight, *parameters], buffers)
        except NotRecordedError as error:
            if self._precision == "bfloat16":
                raise InputError(
                    f"training.precision 'bfloat16' cannot train this model: {error}"
                ) from error
            self._records = False
            return
        if self._precision == "bfloat16":
            multiply_in_bfloat16(program)
        if _planned(x):
            plan_memory(program, [*parameters, *buffers])
        self._programs[x.shape] = program


def _planned(x: Tensor) -> bool:
    """Other devices set memory aside by themselves."""
    return x.device.type == "cpu"
