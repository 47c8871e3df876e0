"""The fast path of training: functions of a stack's weights, recorded once and called often."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from memo.training.recorded import NotRecordedError, Program, record
from memo.training.stack import Stack

__all__ = ["RECORDED_CALLS", "Recorded"]

RECORDED_CALLS = 100
"""Recording a function takes as long as it saves in so many calls, or fewer."""


class Recorded:
    """A function of a stack's weights, recorded where that pays and where the model allows it.

    Results are the same to the bit, recorded or not.

    Args:
        function: Function of some tensors and then of the stack's `parameters` and `buffers`.
        stack: The stack whose weights the function is called with.
        calls: Number of calls to come.
        change: Rewrites each recorded program; the function is then recorded whatever the number
            of calls.
    """

    def __init__(
        self,
        function: Callable[..., Sequence[Tensor]],
        stack: Stack,
        calls: int,
        change: Callable[[Program], None] | None = None,
    ) -> None:
        self._function = function
        self._stack = stack
        self._change = change
        self._records = change is not None or calls >= RECORDED_CALLS
        self._programs: dict[torch.Size, Program] = {}

    @torch.no_grad()  # a gradient that the function computes is computed all the same
    def __call__(self, *arguments: Tensor) -> Sequence[Tensor]:
        """The function's values at the stack's weights.

        Args:
            arguments: Tensors whose shapes depend on that of the first alone.

        Raises:
            NotRecordedError: The program is to be changed, and the function cannot be recorded.
        """
        parameters, buffers = self._stack.parameters, self._stack.buffers
        shape = arguments[0].shape
        if self._records and shape not in self._programs:
            try:
                self._programs[shape] = record(self._function, [*arguments, *parameters], buffers)
            except NotRecordedError:
                if self._change is not None:
                    raise
                self._records = False
            else:
                if self._change is not None:
                    self._change(self._programs[shape])
        run = self._programs[shape].forward if self._records else self._function
        return run(*arguments, *parameters, *buffers)
