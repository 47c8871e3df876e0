"""A YAML file, parsed once: its values, and the line of each key."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from memo.project.yaml_bounds import require_bounded

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top of a document."""


@dataclass(frozen=True)
class Document:
    """The values of a file, and the nodes that they were made of."""

    file: Path
    data: Any
    root: Node | None

    def place(self, path: KeyPath) -> str:
        """The file and the line of a key, or of the last of its parents that is in the file."""
        node, line = self.root, None
        for part in path:
            node, number = _child(node, part)
            if number is None:
                break
            line = number
        return f"{self.file}" if line is None else f"{self.file}:{line}"


def parse(file: Path, text: str) -> Document:
    """Parse YAML 1.2 into plain Python objects.

    Raises:
        YAMLError: The text is not YAML.
        ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError: The
            document is too large (see `require_bounded`), or has a tag on a value of another kind.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    data = yaml.load(text)
    return Document(file, data, yaml.constructor.root)


class _Constructor(SafeConstructor):
    """Checks the document before it is made into objects, and keeps its nodes."""

    root: Node | None = None

    def construct_document(self, node: Node) -> Any:
        require_bounded(node)
        self.root = node
        return super().construct_document(node)


def _child(node: Node | None, part: str | int) -> tuple[Node | None, int | None]:
    """The value under a key or at a position, and the line of the key; merged keys included."""
    if isinstance(node, MappingNode):
        for key, value in reversed(node.value):
            if key.value == str(part):
                return value, key.start_mark.line + 1
    elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line + 1
    return None, None
