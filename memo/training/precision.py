"""Matrix products in bfloat16, in recorded programs whose other numbers stay float32."""

from operator import getitem

import torch
from torch import Tensor
from torch.fx import Graph, Node

from memo.training.recorded import Program, is_view

_ATEN = torch.ops.aten
_PRODUCTS = (_ATEN.mm.default, _ATEN.bmm.default)
_SUMS_OF_PRODUCTS = {
    _ATEN.addmm.default: _ATEN.mm.default,
    _ATEN.baddbmm.default: _ATEN.bmm.default,
}
_CONVOLUTIONS = (_ATEN.convolution.default, _ATEN.convolution_backward.default)


def multiply_in_bfloat16(program: Program) -> None:
    """Round factors of matrix products and convolutions to bfloat16, forward and backward.

    A product sums in float32 and rounds its result once more. Everything else (activations, losses,
    gradients, parameters, the optimizer) is in float32.
    """
    graph = program.graph
    rounded: dict[Node, Node] = {}
    for node in list(graph.nodes):
        if node.target in _SUMS_OF_PRODUCTS and not node.kwargs:
            _split(graph, node)
    for node in list(graph.nodes):
        if node.target in (*_PRODUCTS, *_CONVOLUTIONS):
            with graph.inserting_before(node):
                node.args = tuple(_rounded(graph, value, rounded) for value in node.args)
            _widen(graph, node)
    graph.eliminate_dead_code()
    program.recompile()


def _split(graph: Graph, node: Node) -> None:
    """Split a bias plus a product into two operations."""
    bias, *factors = node.args
    with graph.inserting_before(node):
        product = graph.call_function(_SUMS_OF_PRODUCTS[node.target], tuple(factors))  # type: ignore[index]
        total = graph.call_function(_ATEN.add.Tensor, (product, bias))
    product.meta["val"] = total.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(total)
    graph.erase_node(node)


def _rounded(graph: Graph, value: object, rounded: dict[Node, Node]) -> object:
    """Round a value to bfloat16; of a view, round what it views, once for all its views."""
    if not isinstance(value, Node) or value.meta["val"].dtype is not torch.float32:
        return value
    if value not in rounded:
        if is_view(value):
            of, *arguments = value.args
            base = _rounded(graph, of, rounded)
            view = graph.call_function(value.target, (base, *arguments), value.kwargs)  # type: ignore[arg-type]
            view.meta["val"] = value.target(base.meta["val"], *arguments, **value.kwargs)  # type: ignore
            rounded[value] = view
        else:
            rounded[value] = _cast(graph, value, torch.bfloat16)
    return rounded[value]


def _widen(graph: Graph, node: Node) -> None:
    """Convert the results of a product, one tensor or several, to float32 for what uses them."""
    results = [node] if isinstance(node.meta["val"], Tensor) else list(node.users)
    for result in results:
        assert result is node or result.target is getitem
        with graph.inserting_after(result):
            wide = _cast(graph, result, torch.float32)
        result.meta["val"] = result.meta["val"].to(torch.bfloat16)
        result.replace_all_uses_with(wide)
        wide.args = (result,)  # the line above replaced this use, too


def _cast(graph: Graph, value: Node, dtype: torch.dtype) -> Node:
    copy = graph.call_function(_ATEN._to_copy.default, (value,), {"dtype": dtype})
    copy.meta["val"] = value.meta["val"].to(dtype)
    return copy
