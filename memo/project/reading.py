"""params.yaml -> ProjectSpec, with errors that a person can act on."""

import difflib
import json
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import ReusedAnchorWarning, YAMLError

from memo.errors import InputError
from memo.project.derived import ExpansionError, expand
from memo.project.project_spec import ExperimentSpec, ProjectSpec
from memo.project.yaml_bounds import require_bounded
from memo.spec.base import Name
from memo.spec.dataset_specs import DatasetSpec
from memo.spec.model_specs import CustomSpec

__all__ = [
    "SpecError",
    "expanded_experiments",
    "read_project",
    "require_expanded",
    "require_free_name",
    "select_dataset",
    "select_experiment",
    "spec_schema",
]

_NAME: TypeAdapter[str] = TypeAdapter(Name)
MOST_MESSAGES = 20
"""About a file that is no spec at all, more would not help."""

_OF_CONSTRUCTORS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""What making objects of values with tags of the wrong kind may raise, beside YAML's own errors."""

_Path = tuple[str | int, ...]
_Selected = TypeVar("_Selected")


class SpecError(InputError):
    """The spec is wrong; the message names the file, the key's path, and what is allowed."""


def read_project(file: Path) -> ProjectSpec:
    """Read and validate `params.yaml`; experiments made from others stand among the others.

    Raises:
        SpecError: The file is missing, is not YAML (1.2, as DVC reads it), or does not fit
            `ProjectSpec`; the message has one line for each thing that is wrong.
    """
    data, derived = _read(file)
    entries = {name: entry for entry, points in derived.items() for name in points}
    if not entries:
        return _validated(data, file)
    together = data.get("experiments", {}) | {
        name: experiment for points in derived.values() for name, experiment in points.items()
    }
    return _validated(data | {"experiments": together}, file, entries)


def expanded_experiments(file: Path) -> dict[str, Any]:
    """What `memo expand` writes for a `params.yaml`: each experiment made from others, whole.

    `after` is the file that must be there before its training starts, `code` that of its model.

    Raises:
        SpecError: See `read_project`.
    """
    project = read_project(file)
    _, derived = _read(file)
    return {
        name: {
            **experiment,
            "after": _after(project.experiments[name]),
            "code": _code(project.experiments[name]),
        }
        for points in derived.values()
        for name, experiment in points.items()
    }


def require_expanded(file: Path, expanded: Path) -> None:
    """See that the file by which DVC knows the experiments made from others is up to date.

    Raises:
        SpecError: It is not, or cannot be read.
    """
    experiments = expanded_experiments(file)
    if not experiments and not expanded.exists():
        return
    found = _load(expanded, YAML(typ="safe", pure=True)) if expanded.exists() else None
    if found != {"expanded": experiments}:
        raise SpecError(
            f"{expanded}: is not what {file} says under `derived`; run: memo expand, then dvc repro"
        )


def select_experiment(project: ProjectSpec, name: str) -> ExperimentSpec:
    """The experiment of that name.

    Raises:
        SpecError: No experiment has that name.
    """
    return _select(name, project.experiments, "experiment")


def select_dataset(project: ProjectSpec, name: str) -> DatasetSpec:
    """The data set of that name.

    Raises:
        SpecError: No data set has that name.
    """
    return _select(name, project.datasets, "data set")


def require_free_name(name: str, project: ProjectSpec | None) -> None:
    """See that scores from elsewhere can have a name.

    Raises:
        SpecError: It is not a name, or an experiment has it.
    """
    try:
        _NAME.validate_python(name)
    except ValidationError:
        raise SpecError(
            f"{name!r:.80} is not a valid name: lower-case letters, digits, '-' and '_', starting "
            "with a letter or digit, at most 64; give one: memo score NAME --from TABLE"
        ) from None
    if name == "compare" or (project is not None and name in project.experiments):
        raise SpecError(
            f"{name!r} has other results already; give another name: memo score NAME --from TABLE"
        )


def _read(file: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What stands in the file, and for each entry of `derived` its experiments by name."""
    data = _load(file, YAML(typ="safe", pure=True))
    if not isinstance(data, dict):
        raise SpecError(
            f"{file}: expected the keys `datasets` and `experiments`, found {data!r:.80}"
        )
    project = _validated(data, file)
    for name, experiment in project.experiments.items():
        if experiment.removal is not None:
            raise SpecError(
                f"{file}: experiments.{name}.mitigations: 'remove' reads the scores of another "
                "experiment; write this one under `derived`, so that DVC runs it after that"
            )
        if isinstance(experiment.model, CustomSpec) != (name in project.custom):
            section = "custom" if name in project.custom else "experiments"
            where = _where((section, name, "model"), file, _load(file, YAML(typ="rt", pure=True)))
            raise SpecError(f"{where}: {section}.{name}.model: {_misplaced(experiment)}")
    derived: dict[str, dict[str, Any]] = {}
    names = set(project.experiments)
    for entry, spec in project.derived.items():
        try:
            bases = data.get("experiments", {}) | data.get("custom", {})
            derived[entry] = expand(entry, spec, bases)
        except ExpansionError as error:
            where = _where(error.path, file, _load(file, YAML(typ="rt", pure=True)))
            raise SpecError(f"{where}: {'.'.join(error.path)}: {error}") from None
        for name in derived[entry]:
            if name in names:
                raise SpecError(f"{file}: derived.{entry}: there are two experiments {name!r}")
            names.add(name)
    return data, derived


def _misplaced(experiment: ExperimentSpec) -> str:
    if isinstance(experiment.model, CustomSpec):
        return (
            "is of your own; write this experiment under `custom`, so that DVC trains it again "
            "when its code changes"
        )
    return (
        f"{experiment.model.kind!r} is not of your own; write this experiment under `experiments`"
    )


def _validated(
    data: dict[str, Any], file: Path, entries: dict[str, str] | None = None
) -> ProjectSpec:
    try:
        return ProjectSpec.model_validate(data)
    except ValidationError as error:
        document = _load(file, YAML(typ="rt", pure=True))
        details = error.errors(include_url=False)
        lines = [
            _describe(detail, data, file, document, entries or {})
            for detail in details[:MOST_MESSAGES]
        ]
        if len(details) > MOST_MESSAGES:
            lines.append(f"{file}: and {len(details) - MOST_MESSAGES:,} more things are wrong")
        raise SpecError("\n".join(dict.fromkeys(lines))) from None


def _after(experiment: ExperimentSpec) -> str:
    if experiment.removal is not None:
        return f"artifacts/scores/{experiment.removal.of}.parquet"
    return f"data/prepared/{experiment.dataset}"


def _code(experiment: ExperimentSpec) -> str:
    if isinstance(experiment.model, CustomSpec):
        return experiment.model.code
    return f"data/prepared/{experiment.dataset}"


def _select(name: str, among: dict[str, _Selected], what: str) -> _Selected:
    if name not in among:
        raise SpecError(f"no {what} is named {name!r}{_hint(name, among)}")
    return among[name]


def spec_schema() -> str:
    """The JSON Schema of params.yaml, for editors."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ProjectSpec.model_json_schema(),
    }
    return json.dumps(schema, indent=2) + "\n"


def _load(file: Path, yaml: YAML) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"{file}: no such file; a memo project is run from its folder") from None
    except OSError as error:
        raise SpecError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{file}: is not UTF-8 text (byte {error.start})") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # YAML allows it
            require_bounded(yaml.compose(text))
            return yaml.load(text)
    except (YAMLError, *_OF_CONSTRUCTORS) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or (str(error).splitlines() or [repr(error)])[0]
        raise SpecError(f"{file}{where}: is not valid YAML: {problem}") from None


def _describe(
    detail: ErrorDetails, data: dict[str, Any], file: Path, document: Any, entries: dict[str, str]
) -> str:
    context = detail.get("ctx", {})
    raw = _section(context.get("path", detail["loc"]), data)
    path = _without_tags(raw, data)
    if detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
        path = _with_kind(path, data)
    key = ".".join(str(part) for part in path)
    written: _Path = path
    if len(path) > 1 and path[0] == "experiments" and path[1] in entries:
        entry = entries[str(path[1])]
        written = ("derived", entry)
        key = ".".join(["derived", entry, *map(str, path[2:])]) + f" (of {path[1]})"
    where = _where(written, file, document)
    return f"{where}: {key or 'top level'}: {_message(detail, context, raw)}"


def _section(path: _Path, data: dict[str, Any]) -> _Path:
    """A path whose experiment stands under `custom` leads there."""
    if len(path) > 1 and path[0] == "experiments" and path[1] in (data.get("custom") or {}):
        return ("custom", *path[1:])
    return path


def _where(path: _Path, file: Path, document: Any) -> str:
    line = _line_of(path, document)
    return f"{file}:{line}" if line else f"{file}"


def _message(detail: ErrorDetails, context: dict[str, Any], loc: _Path) -> str:
    given = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            message = f"unknown key{_hint(str(loc[-1]), sorted(_fields_at(loc[:-1])))}"
        case "missing" | "union_tag_not_found":
            message = "is required, but missing"
        case "union_tag_invalid" | "literal_error" | "enum":
            expected = str(context.get("expected_tags", context.get("expected")))
            choices = [choice.strip(" '") for choice in expected.replace(" or ", ",").split(",")]
            given = context.get("tag", given)
            message = f"{given!r} is not known here{_hint(str(given), choices)}"
        case "string_pattern_mismatch":
            message = (
                f"{given!r} is not a valid name: lower-case letters, digits, '-' and '_', "
                "starting with a letter or digit"
            )
        case "inconsistent":
            message = f"{context['message']}{_hint(context['given'], context['choices'])}"
        case _:
            problem = detail["msg"].removeprefix("Value error, ")
            message = f"{problem[0].lower()}{problem[1:]} (found {given!r:.60})"
    return message


def _hint(given: str, allowed: Iterable[object]) -> str:
    choices = [str(choice) for choice in allowed]
    near = difflib.get_close_matches(given, choices, n=1)
    suggestion = f"; did you mean {near[0]!r}?" if near else ""
    return f"{suggestion} (allowed: {', '.join(choices)})" if choices else suggestion


def _without_tags(loc: _Path, data: Any) -> _Path:
    """Drop what pydantic adds to a location: union tags, and `[key]` for a bad dictionary key."""
    path: list[str | int] = []
    value = data
    for position, part in enumerate(loc):
        last = position == len(loc) - 1
        if isinstance(value, dict) and (part in value or (last and part != value.get("kind"))):
            if part != "[key]":
                path.append(part)
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            path.append(part)
            value = value[part]
    return tuple(path)


def _with_kind(path: _Path, data: Any) -> _Path:
    """The key that tells the members of a union apart, where they are not told apart by name."""
    value = data
    for part in path:  # pydantic names a key that is not text by other letters
        if isinstance(value, dict) and part not in value:
            return path
        value = value[part]
    return (*path, "kind") if isinstance(value, dict) else path


def _fields_at(loc: _Path) -> Iterator[str]:
    """The keys that the spec allows at a location (with pydantic's union tags in it)."""
    annotation: Any = ProjectSpec
    for part in loc:
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


def _line_of(path: _Path, node: Any) -> int | None:
    """The line of a key in a document that was loaded with its lines."""
    line: int | None = None
    for part in path:
        if isinstance(node, CommentedMap) and part in node:
            line = node.lc.key(part)[0] + 1
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line = node.lc.item(part)[0] + 1
        else:
            break
        node = node[part]
    return line
