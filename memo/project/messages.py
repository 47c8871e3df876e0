"""From what pydantic finds wrong to lines that a person can act on."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from memo.project.document import Document, KeyPath
from memo.project.experiment_spec import ExperimentSpec
from memo.project.project_spec import ProjectSpec
from memo.spec.policy_specs import PolicySpec

_EMPTY: dict[str | int, str] = {
    key: f": DVC watches it; a density that is fitted without epochs has `{key}: {empty}`"
    for key, empty in (("training", "{}"), ("epochs", "[]"))
}
"""Keys that must be there, with what is said of those that need not say anything."""

MOST_MESSAGES = 20
"""More would not help: such a file is no spec at all."""


def error_lines(
    error: ValidationError, document: Document, data: dict[str, Any], entries: Mapping[str, str]
) -> str:
    """One line for each thing that is wrong: place, path of the key, message.

    Args:
        error: What `ProjectSpec` found wrong with the data.
        document: The file.
        data: The values of the file, with experiments made from others among the experiments.
        entries: For each experiment made from another, the key under `derived` that made it.
    """
    details = error.errors(include_url=False)
    lines = [_line(detail, document, data, entries) for detail in details[:MOST_MESSAGES]]
    if len(details) > MOST_MESSAGES:
        more = len(details) - MOST_MESSAGES
        lines.append(f"{document.file}: and {more:,} more things are wrong")
    return "\n".join(dict.fromkeys(lines))


def setting_lines(error: ValidationError, settings: Mapping[str, Any]) -> str:
    """One line for each thing that is wrong with settings that come from no file.

    Args:
        error: What `ExperimentSpec` found wrong with them.
        settings: The settings of one experiment.
    """
    lines = []
    for detail in error.errors(include_url=False)[:MOST_MESSAGES]:
        context = detail.get("ctx", {})
        path = _path(detail, detail["loc"], settings)
        message = _message(detail, context, detail["loc"], ExperimentSpec)
        lines.append(f"{'.'.join(map(str, path))}: {message}")
    return "\n".join(dict.fromkeys(lines))


def policy_lines(error: ValidationError, document: Document) -> str:
    """One line for each thing that `PolicySpec` found wrong with a file."""
    lines = []
    for detail in error.errors(include_url=False)[:MOST_MESSAGES]:
        path, _ = _without_tags(detail["loc"], document.data)
        message = _message(detail, detail.get("ctx", {}), detail["loc"], PolicySpec)
        lines.append(f"{document.place(path)}: {'.'.join(map(str, path))}: {message}")
    return "\n".join(dict.fromkeys(lines))


def near_miss(given: str, allowed: Iterable[object]) -> str:
    """A suggestion where something allowed is spelt alike, and the list of what is allowed."""
    choices = [str(choice) for choice in allowed]
    near = difflib.get_close_matches(given, choices, n=1)
    suggestion = f"; did you mean {near[0]!r}?" if near else ""
    return f"{suggestion} (allowed: {', '.join(choices)})" if choices else suggestion


def _line(
    detail: ErrorDetails, document: Document, data: dict[str, Any], entries: Mapping[str, str]
) -> str:
    context = detail.get("ctx", {})
    location = _in_section(context.get("path", detail["loc"]), data)
    path = _path(detail, location, data)
    key = ".".join(map(str, path))
    if len(path) > 1 and path[0] == "experiments" and path[1] in entries:
        made, path = path, ("derived", entries[str(path[1])])
        key = ".".join([*map(str, path), *map(str, made[2:])]) + f" (of {made[1]})"
    message = _message(detail, context, location, ProjectSpec)
    return f"{document.place(path)}: {key or 'top level'}: {message}"


def _path(detail: ErrorDetails, location: KeyPath, data: Mapping[str, Any]) -> KeyPath:
    path, value = _without_tags(location, data)
    if detail["type"] in ("union_tag_invalid", "union_tag_not_found") and isinstance(value, dict):
        return (*path, "kind")
    return path


def _message(
    detail: ErrorDetails, context: dict[str, Any], location: KeyPath, whole: type[BaseModel]
) -> str:
    given = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            keys = sorted(_keys_allowed_at(location[:-1], whole))
            return f"unknown key{near_miss(str(location[-1]), keys)}"
        case "missing" | "union_tag_not_found":
            return f"is required, but missing{_EMPTY.get(location[-1], '')}"
        case "union_tag_invalid" | "literal_error" | "enum":
            expected = str(context.get("expected_tags", context.get("expected")))
            choices = [choice.strip(" '") for choice in expected.replace(" or ", ",").split(",")]
            given = context.get("tag", given)
            return f"{given!r} is not known here{near_miss(str(given), choices)}"
        case "string_pattern_mismatch":
            return (
                f"{given!r} is not a valid name: lower-case letters, digits, '-' and '_', "
                "starting with a letter or digit"
            )
        case "inconsistent":
            return f"{context['message']}{near_miss(context['given'], context['choices'])}"
    problem = detail["msg"].removeprefix("Value error, ")
    if detail["type"] in ("model_type", "model_attributes_type", "dict_type"):
        problem = "Must be keys and values"
    return f"{problem[0].lower()}{problem[1:]} (found {given!r:.60})"


def _in_section(path: KeyPath, data: dict[str, Any]) -> KeyPath:
    """The path in the file: experiments under `custom` are validated among the others."""
    custom = data.get("custom")
    if not isinstance(custom, dict):  # which is wrong by itself, and said so
        return path
    if len(path) > 1 and path[0] == "experiments" and path[1] in custom:
        return ("custom", *path[1:])
    return path


def _without_tags(location: KeyPath, data: Any) -> tuple[KeyPath, Any]:
    """Drop what pydantic adds to a path, tags of unions and `[key]`; and the value at the path."""
    path: list[str | int] = []
    value = data
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if isinstance(value, dict) and (part in value or (last and part != value.get("kind"))):
            if part != "[key]":
                path.append(part)
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            path.append(part)
            value = value[part]
    return tuple(path), value


def _keys_allowed_at(location: KeyPath, whole: type[BaseModel]) -> Iterator[str]:
    """The keys of a spec at a location, which has pydantic's tags of unions in it."""
    annotation: Any = whole
    for part in location:
        annotation = _step(annotation, part)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from annotation.model_fields


def _step(annotation: Any, part: str | int) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return field.annotation if field else None
    if get_origin(annotation) in (dict, list):
        return get_args(annotation)[-1]
    for member in _members(annotation):
        kind = member.model_fields.get("kind")
        if kind is not None and part in get_args(kind.annotation):
            return member
    return next((_step(member, part) for member in _members(annotation)), None)


def _members(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [member for argument in get_args(annotation) for member in _members(argument)]
