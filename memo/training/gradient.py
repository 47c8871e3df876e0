"""Gradients of a stack's objective, for one step after another."""

from collections.abc import Sequence

from torch import Tensor

from memo.errors import InputError
from memo.spec.training_specs import Precision
from memo.training.compiled import NotCompiledError
from memo.training.memory import Take
from memo.training.precision import multiply_in_bfloat16
from memo.training.recorded import NotRecordedError
from memo.training.repeated import Repeated
from memo.training.stack import Stack

__all__ = ["Gradient"]


class Gradient:
    """Of a stack's objective at its weights.

    Args:
        stack: Whose objective.
        steps: How many are to come.
        precision: Of products.
        compiles: Whether steps are compiled.
        take: Is given the gradients in place of the caller, by their positions among the stack's
            parameters, some before others are there; it may then change those parameters.
    """

    def __init__(
        self,
        stack: Stack,
        steps: int,
        precision: Precision = "float32",
        compiles: bool = False,
        take: Take | None = None,
    ) -> None:
        change = multiply_in_bfloat16 if precision == "bfloat16" else None
        self._repeated = Repeated(stack.gradient, stack, steps, change, compiles, take)
        self._option = "training.compile" if compiles else f"training.precision {precision!r}"

    def __call__(self, x: Tensor, noise: Tensor, weight: Tensor) -> Sequence[Tensor]:
        """As `Stack.gradient`, at the stack's weights; nothing where it is taken.

        Raises:
            InputError: Products are to be in bfloat16 or steps compiled, and the model cannot be
                recorded; or there is no compiler.
        """
        try:
            return self._repeated(x, noise, weight)
        except NotRecordedError as error:
            raise InputError(f"{self._option} cannot train this model: {error}") from error
        except NotCompiledError as error:
            raise InputError(
                f"{self._option}: this model's training steps do not compile here: {error}"
            ) from error
