"""Functions of tensors as flat lists of operations, recorded once and then repeated.

A training step is the same few dozen operations each time. Autograd, `vmap` and modules find out
anew in every step which, and for a small network that takes longer than the arithmetic. What is
recorded is what they come to, without what no result needs: where only the gradient of a loss is
asked for, most of what its value takes. Results are the same to the bit.
"""

from collections.abc import Callable, Sequence
from operator import getitem
from typing import TypeAlias

import torch
from torch import Tensor
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

__all__ = ["NotRecordedError", "Program", "is_view", "record"]

Program: TypeAlias = GraphModule
"""Its `forward` takes and gives tensors of the shapes, types and device that were recorded."""


class NotRecordedError(Exception):
    """A function does not come to the same operations each time; the message says why."""


def record(
    function: Callable[..., Sequence[Tensor]],
    arguments: Sequence[Tensor],
    constants: Sequence[Tensor] = (),
) -> Program:
    """The function as a program of the same arguments, whatever their values.

    It is recorded on zeros and tried on the arguments, so that what it made of some values, outside
    of tensors, is not taken for others.

    Args:
        function: From tensors to tensors, in the end a function of their values alone.
        arguments: Floating-point numbers of the shapes it will be called with, and values to try.
        constants: Further arguments, whose values will be these each time.

    Raises:
        NotRecordedError: Values decide which way the function goes or how many there are; it writes
            into tensors; or it draws at random.
    """
    zeros = [torch.zeros_like(argument) for argument in arguments]
    try:
        with tracing(TracingContext(FakeTensorMode())):  # one; else it makes one for each operation
            program = make_fx(function)(*zeros, *[constant.clone() for constant in constants])
    except Exception as error:
        raise NotRecordedError(" ".join(str(error).split())) from error
    _require_repeatable(program)
    _simplify(program)
    _require_equal(program, function, [*arguments, *constants])
    return program


_UNREPEATABLE = {
    torch.Tag.data_dependent_output: "takes a number out of a tensor",
    torch.Tag.dynamic_output_shape: "gives as many values as its input's values decide",
    torch.Tag.nondeterministic_seeded: "draws at random",
}


def _require_repeatable(program: Program) -> None:
    for node in _operations(program):
        if not isinstance(node.target, torch._ops.OpOverload):
            raise NotRecordedError(f"{node.target} is not a single operation")
        if node.target._schema.is_mutable:
            raise NotRecordedError(f"{node.target} writes into a tensor")
        for tag in node.target.tags:
            if tag in _UNREPEATABLE:
                raise NotRecordedError(f"{node.target} {_UNREPEATABLE[tag]}")


def _simplify(program: Program) -> None:
    """Leave out what changes nothing: views like what they view, factors of one."""
    graph = program.graph
    graph.eliminate_dead_code()
    for node in _operations(program):
        same = _unchanged(node)
        if same is not None:
            node.replace_all_uses_with(same)
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.recompile()


def _unchanged(node: Node) -> Node | None:
    """What the node's value is a view of, or a product with one, in the same layout."""
    if node.target is torch.ops.aten.mul.Scalar and node.args[1] == 1:
        (of,) = node.all_input_nodes
        return of if _layout(of) == _layout(node) else None
    of = node
    while is_view(of):
        (of,) = of.all_input_nodes
        if _layout(of) == _layout(node):
            return of
    return None


def is_view(node: Node) -> bool:
    """Whether its value is a tensor that shares the memory of its first argument."""
    return (
        isinstance(node.target, torch._ops.OpOverload)
        and isinstance(node.meta.get("val"), Tensor)
        and (bool(node.target.is_view) or node.target is torch.ops.aten._unsafe_view.default)
    )


def _layout(node: Node) -> tuple[object, ...]:
    value = node.meta["val"]
    return value.dtype, value.shape, value.stride(), value.storage_offset()


def _operations(program: Program) -> list[Node]:
    """Those on tensors; not those that take one tensor of several."""
    return [
        node
        for node in program.graph.nodes
        if node.op == "call_function" and node.target is not getitem
    ]


def _require_equal(
    program: Program, function: Callable[..., Sequence[Tensor]], arguments: Sequence[Tensor]
) -> None:
    with torch.no_grad():
        repeated = program.forward(*arguments)
    for one, other in zip(repeated, function(*arguments), strict=True):
        if not torch.equal(one, other) and not torch.allclose(
            one, other, rtol=1e-3, atol=1e-5, equal_nan=True
        ):
            raise NotRecordedError("a number outside of tensors depends on their values")
