"""params.yaml of a new project: a template, and values as any reader of YAML takes them."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from memo.errors import printable

WIDTH = 98

_PLAIN = re.compile(r"(?:\.{0,2}/)?[A-Za-z_](?:[\w .()/-]*[\w.()/-])?", re.ASCII)
"""Text that needs no quotes wherever it stands, unless it is one of `_WORDS`."""

_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"])
"""Words that some version of YAML takes for another thing than text."""

_ESCAPES = {'"': '\\"', "\\": "\\\\"}


def rendered(template: str, descriptions: Mapping[str, str], **parts: Any) -> str:
    """Fill in a template of YAML with comments.

    Args:
        template: Name of a file in `templates`.
        descriptions: What the filter `described` puts into comments, by the key's path.
        parts: Objects that the template names.
    """
    environment = Environment(
        loader=PackageLoader("memo.commands"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "comment": _comment,
        "described": lambda path, indent: _comment(descriptions[path], indent),
        "yaml": yaml_value,
    }
    return environment.get_template(template).render(**parts)


def yaml_value(value: Any) -> str:
    """A scalar, list or mapping on one line, as YAML 1.1 and 1.2 both read it.

    >>> yaml_value({"2021": 0.5, "body mass": 25.0, "on": 1e-05})
    '{"2021": 0.5, body mass: 25, "on": 1.0e-05}'
    """
    if isinstance(value, str):
        return value if is_plain(value) else f'"{"".join(map(_escaped, value))}"'
    if isinstance(value, Mapping):
        entries = (f"{yaml_value(key)}: {yaml_value(entry)}" for key, entry in value.items())
        return f"{{{', '.join(entries)}}}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(yaml_value, value))}]"
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, float) and not value.is_integer():
        digits, mark, exponent = repr(value).partition("e")
        return digits + (".0" if "." not in digits else "") + mark + exponent
    return str(int(value))


def is_plain(text: str) -> bool:
    """True for text that is the same text in YAML without quotes, also as a key."""
    return _PLAIN.fullmatch(text) is not None and text.lower() not in _WORDS


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )


def _comment(text: str, indent: int) -> str:
    """A comment of as many lines as it takes; each line of the text begins a new one."""
    prefix = " " * indent + "# "
    return "\n".join(
        textwrap.fill(line, WIDTH, initial_indent=prefix, subsequent_indent=prefix)
        for line in printable(text).split("\n")
    )
