"""Bounds on a YAML document: how much it may stand for once its aliases are followed."""

from ruamel.yaml.nodes import CollectionNode, MappingNode, Node

LARGEST = 100_000
"""Most values in a document; what aliases repeat is counted each time."""

DEEPEST = 50
"""Most levels of a document. A spec has about ten."""

LONGEST = 2000
"""Most characters of a single value: no name, path or number of a spec is longer."""


def require_bounded(root: Node) -> None:
    """See that a document is no larger than a spec could be, before it is made into objects.

    Nested aliases make a few lines stand for more values than any memory holds, and an alias inside
    of what it repeats for infinitely many.

    Raises:
        ValueError: The document is too large; the message names the line and the bound.
    """
    _size(root, {}, 1)


def _size(node: Node, sizes: dict[int, int], depth: int) -> int:
    """Number of values that a node stands for.

    Args:
        node: The node.
        sizes: Sizes of nodes seen before, by `id`; 0 while they are being counted.
        depth: Levels down to the node.
    """
    known = sizes.get(id(node))
    if known is not None:
        if not known:
            raise ValueError(f"line {_line(node)}: an alias stands inside of what it repeats")
        return known
    if depth > DEEPEST:
        raise ValueError(f"line {_line(node)}: nested more than {DEEPEST} levels deep")
    sizes[id(node)] = 0
    size = 1
    if isinstance(node, CollectionNode):
        for child in _children(node):
            size += _size(child, sizes, depth + 1)
            if size > LARGEST:
                raise ValueError(f"line {_line(node)}: stands for more than {LARGEST:,} values")
    else:
        _require_plain(node)
    sizes[id(node)] = size
    return size


def _children(node: CollectionNode) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value)


def _require_plain(node: Node) -> None:
    if len(node.value) > LONGEST:
        raise ValueError(f"line {_line(node)}: a value is longer than {LONGEST:,} characters")
    if any("\ud800" <= c <= "\udfff" for c in node.value):
        raise ValueError(f"line {_line(node)}: half of a character ({node.value!a:.40})")


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1
