"""The fast path of training: functions of a stack's weights, recorded once and called often."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from memo.errors import InputError
from memo.spec.training_specs import Precision
from memo.training.precision import multiply_in_bfloat16
from memo.training.recorded import NotRecordedError, Program, record
from memo.training.stack import Stack

RECORDED_CALLS = 100
"""Recording a function takes as long as it saves in so many calls, or fewer."""


class Recorded:
    """A function of a stack's weights, recorded where that pays and where the model allows it.

    Recorded or not, results are the same to the bit.

    Args:
        function: Function of some tensors and then of the stack's `parameters` and `buffers`.
        stack: The stack whose weights the function is called with.
        calls: Number of calls to come.
        precision: Precision of products; of another one than float32 only a recorded program is.
    """

    def __init__(
        self,
        function: Callable[..., Sequence[Tensor]],
        stack: Stack,
        calls: int,
        precision: Precision = "float32",
    ) -> None:
        self._function = function
        self._stack = stack
        self._precision = precision
        self._records = precision != "float32" or calls >= RECORDED_CALLS
        self._programs: dict[torch.Size, Program] = {}

    @torch.no_grad()  # a gradient that the function computes is computed all the same
    def __call__(self, *arguments: Tensor) -> Sequence[Tensor]:
        """Compute the function's values at the stack's weights.

        Args:
            arguments: Tensors whose shapes depend on that of the first alone.

        Raises:
            InputError: The precision is not float32, and the function cannot be recorded.
        """
        shape = arguments[0].shape
        if self._records and shape not in self._programs:
            try:
                self._programs[shape] = self._recorded(arguments)
            except NotRecordedError as error:
                if self._precision != "float32":
                    option = f"training.precision {self._precision!r}"
                    raise InputError(f"{option} cannot train this model: {error}") from error
                self._records = False
        run = self._programs[shape].forward if self._records else self._function
        return run(*arguments, *self._stack.parameters, *self._stack.buffers)

    def _recorded(self, arguments: Sequence[Tensor]) -> Program:
        stack = self._stack
        program = record(self._function, [*arguments, *stack.parameters], stack.buffers)
        if self._precision == "bfloat16":
            multiply_in_bfloat16(program)
        return program
