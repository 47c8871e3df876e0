"""Functions of tensors as flat lists of operations, recorded once and then repeated.

A training step is the same few dozen operations each time. Autograd, `vmap` and modules derive them
anew in every step, and for a small network that takes longer than the arithmetic. A recorded
program has the operations alone, without those that no result needs. Results are the same to the
bit.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from operator import getitem
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_aggregate
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

Program: TypeAlias = GraphModule
"""A graph whose `forward` takes and gives tensors of the recorded shapes, types and device. The
`meta["val"]` of a node is a tensor on the meta device with the layout of its value."""


class NotRecordedError(Exception):
    """A function does not do the same operations each time; the message says why."""


def record(
    function: Callable[..., Sequence[Tensor]],
    arguments: Sequence[Tensor],
    constants: Sequence[Tensor] = (),
) -> Program:
    """Record a function as a program of the same arguments.

    The function is recorded on zeros, and the program is tried on the arguments: numbers that it
    computes outside of tensors would be those of the zeros.

    Args:
        function: A function from tensors to tensors, of their values alone.
        arguments: Floating-point tensors of the shapes that it will be called with, to try it on.
        constants: Further arguments, whose values will be these each time.

    Raises:
        NotRecordedError: Values of tensors decide which way the function goes or how many values
            it gives; it writes into tensors that others may read; or it draws at random.
    """
    zeros = [torch.zeros_like(argument) for argument in arguments]
    zeros += [constant.clone() for constant in constants]
    recorder = _Recorder(zeros)
    try:
        with recorder:
            results = function(*zeros)
    except Exception as error:
        raise NotRecordedError(" ".join(str(error).split())) from error
    program = recorder.program(results)
    _require_repeatable(program)
    _simplify(program)
    _require_equal(program, function, [*arguments, *constants])
    return program


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records operations while they are done, below autograd, `vmap` and modules.

    `torch.fx.experimental.proxy_tensor.make_fx` records the same in four times the time, and
    imports torch's compiler, in each worker process.

    Args:
        arguments: Arguments of the function, and so of the program.
    """

    def __init__(self, arguments: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph = Graph()
        self._constants = nn.Module()
        self._nodes: MutableMapping[Tensor, Node] = WeakTensorKeyDictionary()
        for position, argument in enumerate(arguments):
            self._assign(argument, self._graph.placeholder(f"argument_{position}"))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # it would import the compiler, to keep it from the method below

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        with self:  # operations that are names for several others
            result = func.decompose(*args, **options)
        if result is not NotImplemented:
            return result
        operation = self._pure(func, args[0]) if func._schema.is_mutable else func
        node = self._graph.call_function(operation, self._named(tuple(args)), self._named(options))
        result = func(*args, **options)
        self._assign(result, node)
        return result

    def _pure(self, func: Any, written: Any) -> Any:
        """Find the operation that returns what this one writes into a tensor."""
        name, overload = func._schema.name, func._overloadname
        pure = getattr(torch.ops.aten, name.removeprefix("aten::").removesuffix("_"), None)
        if overload not in getattr(pure, "overloads", list)() or pure is func.overloadpacket:
            raise NotRecordedError(f"{name} writes into a tensor")
        memory = written.untyped_storage().data_ptr()
        known = [n for t, n in self._nodes.items() if t.untyped_storage().data_ptr() == memory]
        if known != [self._nodes.get(written)] or known[0].op != "call_function":
            raise NotRecordedError(f"{name} writes into a tensor that others may read")
        return getattr(pure, overload)

    def program(self, results: Sequence[Tensor]) -> Program:
        """Make the program that returns these results."""
        self._graph.output(self._named(list(results)))
        return GraphModule(self._constants, self._graph)

    def _assign(self, value: Any, node: Node) -> None:
        """Note which node a value comes from, a tensor or several of them."""
        node.meta["val"] = map_aggregate(value, _described)
        if isinstance(value, Tensor):
            self._nodes[value] = node
        elif isinstance(value, list | tuple):
            for position, part in enumerate(value):
                self._assign(part, self._graph.call_function(getitem, (node, position)))

    def _named(self, arguments: Any) -> Any:
        """Replace tensors by their nodes."""
        return map_aggregate(arguments, lambda a: self._node(a) if isinstance(a, Tensor) else a)

    def _node(self, tensor: Tensor) -> Node:
        """Find the node of a tensor; one that comes from elsewhere is a constant."""
        if tensor not in self._nodes:
            name = f"constant_{len(list(self._constants.buffers()))}"
            self._constants.register_buffer(name, tensor.detach())
            self._assign(tensor, self._graph.get_attr(name))
        return self._nodes[tensor]


def _described(value: Any) -> Any:
    """Replace a tensor by one of the same layout on the meta device; keep other values."""
    if not isinstance(value, Tensor):
        return value
    layout = (value.shape, value.stride(), value.storage_offset())
    extent = value.untyped_storage().size() // value.element_size()
    return torch.empty(extent, dtype=value.dtype, device="meta").as_strided(*layout)


_UNREPEATABLE = {
    torch.Tag.nondeterministic_seeded: "draws at random",
    torch.Tag.data_dependent_output: "takes a number out of a tensor",
    torch.Tag.dynamic_output_shape: "gives as many values as its input's values decide",
}


def _require_repeatable(program: Program) -> None:
    changing = {node for node in program.graph.nodes if node.op == "placeholder"}
    for node in program.graph.nodes:
        changes = not changing.isdisjoint(node.all_input_nodes)
        if changes:
            changing.add(node)
        for tag, does in _UNREPEATABLE.items():
            found = tag in getattr(node.target, "tags", ())
            if found and (changes or tag is torch.Tag.nondeterministic_seeded):
                raise NotRecordedError(f"{node.target} {does}")


def _simplify(program: Program) -> None:
    """Leave out views that equal what they view, factors of one, and what no result needs."""
    graph = program.graph
    for node in list(graph.nodes):
        same = _unchanged(node)
        if same is not None:
            node.replace_all_uses_with(same)
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.recompile()


def _unchanged(node: Node) -> Node | None:
    """Find the node of which this one is a view, or the product with one, in the same layout."""
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
    """Tell whether a node's value shares the memory of its first argument."""
    return (
        isinstance(node.target, torch._ops.OpOverload)
        and isinstance(node.meta.get("val"), Tensor)
        and (bool(node.target.is_view) or node.target is torch.ops.aten._unsafe_view.default)
    )


def _layout(node: Node) -> tuple[object, ...]:
    value = node.meta["val"]
    return value.dtype, value.shape, value.stride(), value.storage_offset()


def _require_equal(
    program: Program, function: Callable[..., Sequence[Tensor]], arguments: Sequence[Tensor]
) -> None:
    with torch.no_grad():
        try:
            repeated = program.forward(*arguments)
        except Exception as error:
            raise NotRecordedError(f"repeated, it fails: {error}") from error
    for one, other in zip(repeated, function(*arguments), strict=True):
        if not torch.equal(one, other) and not torch.allclose(
            one, other, rtol=1e-3, atol=1e-5, equal_nan=True
        ):
            raise NotRecordedError("a number outside of tensors depends on their values")
