"""Memory of recorded programs: each result has its place, set aside once.

A step allocates as many tensors as it has operations, and gives most of them back at once. Where
every result has a place from the start, nothing is allocated, what shapes and views come to is
known beforehand, and places that are used again soon are still in cache. Operations and their order
stay what they were, and so do results, to the bit.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import getitem
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from memo.training.recorded import Program, is_view

__all__ = ["plan_memory"]

_ATEN = torch.ops.aten
_DIRECT = {
    name: getattr(torch, name)
    for name in (
        *("mm", "bmm", "addmm", "baddbmm", "add", "sub", "mul", "div", "pow", "neg", "exp", "log"),
        *("sigmoid", "tanh", "sqrt", "square", "abs", "clamp_min", "sum", "cat", "logaddexp"),
    )
}
"""Functions of torch that write where they are told: called in half the time of an operator."""

_COPIES = (_ATEN.clone.default, _ATEN._to_copy.default)

TAKEN_ALONE = 1 << 16
"""A result of so many numbers is taken by itself: it would not stay in cache until the end."""

Take: TypeAlias = Callable[[Sequence[int], Sequence[Tensor]], None]
"""Takes results in, by their positions; each constant may then change at a result's position."""


def plan_memory(program: Program, constants: Sequence[Tensor], take: Take | None = None) -> None:
    """Have a program on the CPU write into memory of its own, the same in each run.

    From then on it takes the arguments before the constants alone, and the tensors that it gives
    hold until its next run.

    Args:
        program: As it was recorded.
        constants: Its last arguments: the same memory in each run, whatever it holds.
        take: Is given the results, in place of who runs the program: large ones as soon as they are
            there and the constant of the same position was read for the last time. Their memory is
            then used again.
    """
    nodes = list(program.graph.nodes)
    arguments = [node for node in nodes if node.op == "placeholder"]
    changing = len(arguments) - len(constants)
    plan = _Plan(program, take, {} if take is None else _due(nodes, arguments[changing:]))
    for node in arguments[:changing]:
        plan.copy_in(node)
    for node, constant in zip(arguments[changing:], constants, strict=True):
        plan.know(node, constant.detach())
    for node in nodes[len(arguments) : -1]:
        plan.add(node)
    plan.finish()
    program.graph = plan.graph


class _Plan:
    """A program's operations one after another, and where their results lie.

    Args:
        program: Whose operations; it holds the memory.
        take: What takes its results in.
        due: Positions of results to be taken in right after a node.
    """

    def __init__(
        self, program: Program, take: Take | None, due: Mapping[Node, Sequence[int]]
    ) -> None:
        self.graph = Graph()
        self._program = program
        self._take = take
        self._due = due
        nodes = list(program.graph.nodes)
        self._results: Any = nodes[-1].args[0]
        self._origins, self._last = _lifetimes(nodes)
        self._known: dict[Node, Any] = {}
        """Values that lie in the same memory in each run: tensors, or several of them."""
        self._nodes: dict[Node, Node] = {}
        """What has become of a node, where something needs it."""
        self._places: dict[Node, Tensor] = {}
        """Bytes of each result that is still to be read."""
        self._free: list[Tensor] = []

    def know(self, node: Node, value: Any) -> None:
        """That its value lies in the same memory each time."""
        self._known[node] = value

    def copy_in(self, node: Node) -> None:
        """Copy an argument to a place of its own, so that whatever views it is known as well."""
        argument = self.graph.placeholder(node.name)
        value = node.meta["val"]
        self.know(node, torch.empty_strided(value.shape, value.stride(), dtype=value.dtype))
        self.graph.call_method("copy_", (self._now(node), argument))

    def add(self, node: Node) -> None:
        """The next operation, and the taking of results that it lets."""
        target: Any = node.target
        if node.op == "get_attr":  # a constant of the function's own
            self.know(node, getattr(self._program, target))
        elif _shares_memory(node) and all(of in self._known for of in node.all_input_nodes):
            arguments, options = _with(node, self._known.__getitem__)
            self.know(node, target(*arguments, **options))
        else:
            arguments, options = _with(node, self._now)
            write = _writing(node)
            if write is None:
                self._nodes[node] = self.graph.call_function(target, arguments, options)
            else:
                self.know(node, self._place(node))
                write(self.graph, arguments, options, self._now(node))
        for position in self._due.get(node, ()):
            self._give([position])
            self._free += [self._places.pop(o) for o in self._origins[self._results[position]]]

    def finish(self) -> None:
        """The program's output: its results, or nothing where they are taken in."""
        if self._take is None:
            self.graph.output([self._now(result) for result in self._results])
            return
        early = {position for positions in self._due.values() for position in positions}
        self._give([p for p in range(len(self._results)) if p not in early])
        self.graph.output([])

    def _give(self, positions: Sequence[int]) -> None:
        results = [self._now(self._results[position]) for position in positions]
        self.graph.call_function(self._take, (list(positions), results))  # type: ignore[arg-type]

    def _now(self, node: Node) -> Node:
        if node not in self._nodes:
            name = f"memory_{node.name}"
            setattr(self._program, name, self._known[node])
            self._nodes[node] = self.graph.create_node("get_attr", name)
        return self._nodes[node]

    def _place(self, node: Node) -> Tensor:
        """Memory for a result: that of an argument which is read for the last time, if it may be
        overwritten while it is read; else what is free; else new."""
        value = node.meta["val"]
        read = [origin for of in node.all_input_nodes for origin in self._origins[of]]
        done = [o for o in dict.fromkeys(read) if o in self._places and self._last[o] is node]
        same = next((o for o in done if self._overwritable(o, node)), None)
        extent = sum((n - 1) * s for n, s in zip(value.shape, value.stride(), strict=True)) + 1
        size = max(extent, 1) * value.element_size()
        place = self._room(size) if same is None else self._places[same]
        freed = {o: self._places.pop(o) for o in done}
        self._free += [memory for o, memory in freed.items() if o is not same]
        self._places[node] = place
        return place[:size].view(value.dtype).as_strided(value.shape, value.stride())

    def _overwritable(self, origin: Node, node: Node) -> bool:
        """Whether all that the operation reads there it reads where it writes the same element."""
        operator: Any = node.target
        value, start = node.meta["val"], self._places[origin].data_ptr()
        return torch.Tag.pointwise in operator.tags and all(
            isinstance(known := self._known.get(of), Tensor)
            and known.data_ptr() == start
            and (known.dtype, known.shape, known.stride())
            == (value.dtype, value.shape, value.stride())
            for of in node.all_input_nodes
            if origin in self._origins[of]
        )

    def _room(self, size: int) -> Tensor:
        """The smallest free place that is large enough, of several the one freed last; or new."""
        fitting = [i for i in reversed(range(len(self._free))) if len(self._free[i]) >= size]
        if not fitting:
            return torch.empty(size, dtype=torch.uint8)
        return self._free.pop(min(fitting, key=lambda i: len(self._free[i])))


def _lifetimes(nodes: Sequence[Node]) -> tuple[dict[Node, frozenset[Node]], dict[Node, Node]]:
    """Whose memory each value may lie in, and which node reads that memory last.

    Of an operation that is not written to a place, the result may lie in that of any argument.
    """
    origins: dict[Node, frozenset[Node]] = {}
    last: dict[Node, Node] = {}
    for node in nodes:
        read = frozenset(origin for of in node.all_input_nodes for origin in origins[of])
        last |= dict.fromkeys(read, node)
        own = node.op == "placeholder" or (
            node.op == "call_function" and _writing(node) is not None
        )
        origins[node] = frozenset({node}) if own else read
    return origins, last


def _due(nodes: Sequence[Node], constants: Sequence[Node]) -> dict[Node, list[int]]:
    """After which nodes large results can be taken in, and their memory used again.

    Nothing then reads a result, or the constant of its position; and no other result lies there.
    """
    results: Any = nodes[-1].args[0]
    origins, last = _lifetimes(nodes[:-1])
    order = {node: position for position, node in enumerate(nodes)}
    places = Counter(origin for result in results for origin in origins[result])
    due: dict[Node, list[int]] = {}
    for position, (result, constant) in enumerate(zip(results, constants, strict=False)):
        own = origins[result]
        written = all(o.op != "placeholder" and places[o] == 1 for o in own)
        if own and written and result.meta["val"].numel() >= TAKEN_ALONE:
            after = [result, *(last[o] for o in (*own, constant) if o in last)]
            due.setdefault(max(after, key=order.__getitem__), []).append(position)
    return due


def _with(node: Node, value: Callable[[Node], Any]) -> tuple[Any, Any]:
    """Its arguments by position and by name, with values for nodes."""
    return map_arg(node.args, value), map_arg(node.kwargs, value)


def _shares_memory(node: Node) -> bool:
    """Whether the value is known once those of the arguments are: a view, or made of no tensor."""
    if node.op != "call_function" or node.target is getitem:
        return node.op == "call_function"
    operator: Any = node.target
    views = all(result.alias_info is not None for result in operator._schema.returns)
    return views or is_view(node) or not node.all_input_nodes


Write: TypeAlias = Callable[[Graph, Any, Any, Node], object]
"""Adds an operation on arguments and options to a graph, and has it write to a place."""


def _writing(node: Node) -> Write | None:
    """How its result is written to a place; None where there is no way without a copy."""
    if _shares_memory(node) or not isinstance(node.meta.get("val"), Tensor):
        return None
    if node.target in _COPIES and set(node.kwargs) <= {"dtype"}:
        return lambda graph, arguments, _, place: graph.call_method("copy_", (place, *arguments))
    if node.target is _ATEN.relu.default:  # which is that, and has no `out`
        return lambda graph, arguments, _, place: graph.call_function(
            torch.clamp_min, (*arguments, 0), {"out": place}
        )
    found = _with_out(node.target)
    if found is None:
        return None
    function, out = found
    return lambda graph, arguments, options, place: graph.call_function(
        function, arguments, {**options, out: place}
    )


@cache
def _with_out(target: Any) -> tuple[Callable[..., Any], str] | None:
    """The same operation with an argument for its result, and that argument's name."""
    packet = target.overloadpacket
    if packet.__name__ in _DIRECT and target is not _ATEN.sum.default:
        return _DIRECT[packet.__name__], "out"
    wanted = [(a.name, str(a.type)) for a in target._schema.arguments]
    for name in packet.overloads():
        overload = getattr(packet, name)
        places = [a.name for a in overload._schema.arguments if a.is_out]
        others = [(a.name, str(a.type)) for a in overload._schema.arguments if not a.is_out]
        if len(places) == 1 and others == wanted and torch.Tag.generated not in overload.tags:
            return overload, places[0]
    return None
