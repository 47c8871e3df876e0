"""Recorded programs as machine code."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from memo.training.recorded import Program

__all__ = ["NotCompiledError", "compiled"]


class NotCompiledError(Exception):
    """A program does not compile on this machine; the message says why."""


def compiled(program: Program, arguments: Sequence[Tensor]) -> Callable[..., Sequence[Tensor]]:
    """The program by TorchInductor: in C++ for a processor, in Triton for a GPU.

    What it gives is the program's up to rounding, and the same to the bit each time on one machine:
    for one thread, and with nothing chosen by how long it takes.

    Args:
        program: As it was recorded.
        arguments: Tensors like those that it will be called with.

    Raises:
        NotCompiledError: There is no compiler, or it does not take the program.
    """
    from torch import _inductor  # noqa: PLC0415 -- it takes seconds to import
    from torch._inductor import config  # noqa: PLC0415

    options = {"cpp.threads": 1, "compile_threads": 1, "max_autotune": False}
    if hasattr(config, "deterministic"):
        options["deterministic"] = True
    try:
        with torch.no_grad():
            result: Callable[..., Sequence[Tensor]] = _inductor.compile(
                program, [argument.detach() for argument in arguments], options=options
            )
    except Exception as error:
        raise NotCompiledError(" ".join(str(error).split())[:MESSAGE]) from error
    return result


MESSAGE = 400
"""Characters of a compiler's complaint that are told."""
