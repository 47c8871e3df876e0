"""Functions of a stack's weights that are called again and again."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from memo.training.compiled import compiled
from memo.training.memory import Take, plan_memory
from memo.training.recorded import NotRecordedError, Program, record
from memo.training.stack import Stack

__all__ = ["Repeated"]

RECORDED_CALLS = 100
"""Recording a function takes as long as it saves in so many calls, or fewer."""


class Repeated:
    """Recorded where that pays and the model lets it, which the results do not show.

    Args:
        function: Of tensors, then of the values of the stack's `parameters` and `buffers`.
        stack: Whose.
        calls: How many are to come.
        change: What is made of the program, so that it is recorded whatever the number of calls.
        compiles: Whether the program is compiled; it is then recorded as well.
        take: Is given the values in place of the caller; it may then change the parameter at each
            one's position.
    """

    def __init__(
        self,
        function: Callable[..., Sequence[Tensor]],
        stack: Stack,
        calls: int,
        change: Callable[[Program], None] | None = None,
        compiles: bool = False,
        take: Take | None = None,
    ) -> None:
        self._function = function
        self._stack = stack
        self._change = change
        self._compiles = compiles
        self._take = take
        self._must_be_recorded = compiles or change is not None
        self._records = self._must_be_recorded or calls >= RECORDED_CALLS
        self._programs: dict[torch.Size, Callable[..., Sequence[Tensor]]] = {}

    @torch.no_grad()  # a gradient that is asked for is computed all the same
    def __call__(self, *arguments: Tensor) -> Sequence[Tensor]:
        """The function's values, which hold until the next call; none where they are taken.

        Args:
            arguments: Tensors whose shapes depend on that of the first.

        Raises:
            NotRecordedError: The program is to be changed or compiled, and there is none.
            NotCompiledError: It does not compile.
        """
        shape = arguments[0].shape
        if self._records and shape not in self._programs:
            try:
                self._programs[shape] = self._recorded(arguments)
            except NotRecordedError:
                if self._must_be_recorded:
                    raise
                self._records = False
        if self._records:
            return self._programs[shape](*arguments)
        return self._given(
            self._function(*arguments, *self._stack.parameters, *self._stack.buffers)
        )

    def _recorded(self, arguments: Sequence[Tensor]) -> Callable[..., Sequence[Tensor]]:
        parameters, buffers = self._stack.parameters, self._stack.buffers
        program = record(self._function, [*arguments, *parameters], buffers)
        if self._change is not None:
            self._change(program)
        if arguments[0].device.type == "cpu" and not self._compiles:
            plan_memory(program, [*parameters, *buffers], self._take)
            return program.forward
        # compiled programs, and other devices, set memory aside by themselves
        run = program.forward
        if self._compiles:
            run = compiled(program, [*arguments, *parameters, *buffers])
        return lambda *given: self._given(run(*given, *parameters, *buffers))

    def _given(self, values: Sequence[Tensor]) -> Sequence[Tensor]:
        if self._take is None:
            return values
        self._take(range(len(values)), values)
        return []
