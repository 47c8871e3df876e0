"""Pages of the reference that are made of the code: keys of params.yaml, policies, commands."""

import json
import re
from collections.abc import Iterator
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from memo.cli import app
from memo.project.reading import spec_schema
from memo.spec.policy_specs import PolicySpec

Schema = dict[str, Any]

WORDS = {
    "string": "text",
    "integer": "whole number",
    "null": "`null`",
    "boolean": "`true`, `false`",
}
"""Types of JSON Schema, as a reader knows them."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    pages = {"spec": spec_page(), "policy": policy_page(), "commands": commands_page()}
    for name, text in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def spec_page() -> str:
    """Every key of params.yaml, from its JSON Schema."""
    schema = json.loads(spec_schema())
    intro = (
        "# params.yaml\n\nMade of the JSON Schema that `memo schema` prints, and that editors "
        "complete by. A key in bold must be given.\n\n## The file"
    )
    return "\n".join([intro, *_table(schema), *_sections(schema)])


def policy_page() -> str:
    """Every key of a policy."""
    schema = PolicySpec.model_json_schema()
    intro = "# Policies\n\nWhat `memo gate` judges by: [A gate for releases](../gate.md)."
    return "\n".join([intro, *_table(schema), *_sections(schema)])


def commands_page() -> str:
    """Every command with its arguments and options, from the program itself."""
    group: Any = typer.main.get_command(app)
    lines = [
        "# Command line\n",
        "Exit codes: 0 done, 1 the work failed, 2 the input was wrong; of `memo gate` also 1 fail "
        "and 3 not enough evidence. Before any command:\n",
        *_parameters(group),
    ]
    for name, command in sorted(group.commands.items()):
        arguments = [param.metavar for param in command.params if not _is_option(param)]
        usage = " ".join(["memo", name, "[OPTIONS]", *arguments])
        lines += [f"\n## memo {name}\n", f"    {usage}\n", _linked(str(command.help)), ""]
        lines += _parameters(command)
        lines += [f"\n{command.epilog}\n"] if command.epilog else []
    return "\n".join(lines)


def _parameters(command: Any) -> Iterator[str]:
    """Arguments and options of a command, as a table."""
    if command.params:
        yield from ["| argument or option | |", "| --- | --- |"]
    for param in command.params:
        names = ", ".join(f"`{name}`" for name in param.opts) if _is_option(param) else ""
        takes = "" if getattr(param, "is_flag", False) else param.metavar or param.name.upper()
        what = f"{names} `{takes}`" if takes else names
        yield f"| {_cell(what)} | {_cell(param.help or '')} |"


def _is_option(param: Any) -> bool:
    return str(param.opts[0]).startswith("-")


def _sections(schema: Schema) -> Iterator[str]:
    """Definitions in the order in which a reader of the file meets them, by the key they are at."""
    definitions, seen = schema.get("$defs", {}), set()
    waiting = list(_met(schema))
    while waiting:
        key, names = waiting.pop(0)
        fresh = [one for one in names if one not in seen and "properties" in definitions[one]]
        seen.update(fresh)
        kinds = [definitions[name].get("properties", {}).get("kind", {}) for name in fresh]
        if any(kinds):
            yield f"\n## {key}\n"
        for name, kind in zip(fresh, kinds, strict=True):
            found = definitions[name]
            title = f"### kind: {kind['const']}" if kind else f"## {key}"
            yield f"\n{title} {{ #{name} }}\n"
            yield _linked(found.get("description", "")) + "\n"
            yield from _table(found)
            waiting += _met(found)


def _met(schema: Schema) -> Iterator[tuple[str, list[str]]]:
    for key, one in schema.get("properties", {}).items():
        text = json.dumps(one)
        names = [part.split('"')[0] for part in text.split('"#/$defs/')[1:]]
        yield key, list(dict.fromkeys(names))


def _table(schema: Schema) -> Iterator[str]:
    properties = schema.get("properties", {})
    if not properties:
        return
    yield "\n| key | takes | default | |"
    yield "| --- | --- | --- | --- |"
    for key, one in properties.items():
        needed = key in schema.get("required", [])
        name = f"**`{key}`**" if needed else f"`{key}`"
        default = "" if needed else f"`{json.dumps(one.get('default'), ensure_ascii=False)}`"
        yield f"| {name} | {_cell(_type(one))} | {default} | {_cell(one.get('description', ''))} |"


def _type(schema: Schema) -> str:
    """Values that a key takes, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return "anything" if name == "JsonValue" else f"[a mapping](#{name})"
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object":
        inner = schema.get("additionalProperties") or next(
            iter(schema.get("patternProperties", {}).values()), {}
        )
        return f"by name: {_type(inner)}" if isinstance(inner, dict) and inner else "a mapping"
    return _choice(schema) or _scalar(schema)


def _choice(schema: Schema) -> str:
    """Alternatives, in words; nothing where there are none."""
    if "discriminator" in schema:
        kinds = schema["discriminator"]["mapping"].items()
        return ", ".join(f"[`{kind}`](#{ref.rsplit('/', 1)[1]})" for kind, ref in kinds)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(_type(one) for one in schema[several]))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    return ""


def _scalar(schema: Schema) -> str:
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    kind = schema.get("type", "anything")
    given = {bound: schema[bound] for bound in bounds if schema.get(bound, 2**63) < 2**63}
    said = [f"{bounds[bound]} {value}" for bound, value in given.items()]
    return " ".join([WORDS.get(kind, kind), *said])


def _cell(text: str) -> str:
    return " ".join(_linked(text).replace("|", "\\|").split())


def _linked(text: str) -> str:
    """Text in which pages are named by links to them, not by their files."""
    return re.sub(r"docs/([a-z-]+)\.md", r"[\1](../\1.md)", text)
