"""params.yaml: parsed once, validated, `derived` expanded, all experiments validated together."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml.error import ReusedAnchorWarning, YAMLError

from memo.errors import InputError
from memo.project.derived import ExpansionError, expand
from memo.project.document import Document, parse
from memo.project.experiment_spec import ExperimentSpec
from memo.project.messages import error_lines, near_miss
from memo.project.project_spec import RESERVED, ProjectSpec
from memo.spec.base import Name
from memo.spec.dataset_specs import DatasetSpec
from memo.spec.model_specs import CustomSpec

_NAME: TypeAdapter[str] = TypeAdapter(Name)

_MISTAGGED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""Errors that making objects of values with wrong tags may raise, beside YAML's own."""

_Selected = TypeVar("_Selected")


class SpecError(InputError):
    """The spec is wrong; the message names the file, the key's path, and what is allowed."""


def read_project(file: Path) -> ProjectSpec:
    """Read and validate `params.yaml`; experiments made from others stand among the others.

    Raises:
        SpecError: The file is missing, is not YAML (1.2, as DVC reads it), or does not fit
            `ProjectSpec`; the message has one line for each thing that is wrong.
    """
    document = read_document(file)
    if not isinstance(document.data, dict):
        raise SpecError(
            f"{file}: expected the keys `datasets` or `files`, maybe `experiments`, found "
            f"{document.data!r:.80}"
        )
    project = _validated(document, document.data)
    _check_sections(project, document)
    entries, experiments = _expanded(project, document)
    if not experiments:
        _check_policies(project, document)
        return project
    together = document.data.get("experiments", {}) | experiments
    whole = _validated(document, document.data | {"experiments": together}, entries)
    _check_policies(whole, document)
    return whole.with_expanded(experiments)


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
    """See that a name can be given to scores that come from a table.

    Raises:
        SpecError: The name is not valid, or an experiment has it.
    """
    try:
        _NAME.validate_python(name)
    except ValidationError:
        raise SpecError(
            f"{name!r:.80} is not a valid name: lower-case letters, digits, '-' and '_', starting "
            "with a letter or digit, at most 64; give one: memo score NAME --from TABLE"
        ) from None
    if name == RESERVED or (project is not None and name in project.experiments):
        raise SpecError(
            f"{name!r} has other results already; give another name: memo score NAME --from TABLE"
        )


def spec_schema() -> str:
    """The JSON Schema of params.yaml, for editors."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ProjectSpec.model_json_schema(),
    }
    return json.dumps(schema, indent=2) + "\n"


def read_document(file: Path) -> Document:
    """Read a YAML file.

    Raises:
        SpecError: It is missing, cannot be read, or is not YAML 1.2.
    """
    try:
        if file.exists() and not file.is_file():  # reading a pipe might never end
            raise SpecError(f"{file}: is no file")
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"{file}: no such file; a memo project is run from its folder") from None
    except OSError as error:
        raise SpecError(f"{file}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{file}: is not UTF-8 text (byte {error.start})") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # YAML allows it
            return parse(file, text)
    except (YAMLError, *_MISTAGGED) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or (str(error).splitlines() or [repr(error)])[0]
        raise SpecError(f"{file}{where}: is not valid YAML: {problem}") from None


def _validated(
    document: Document, data: dict[str, Any], entries: Mapping[str, str] | None = None
) -> ProjectSpec:
    try:
        return ProjectSpec.model_validate(data)
    except ValidationError as error:
        raise SpecError(error_lines(error, document, data, entries or {})) from None


def _check_sections(project: ProjectSpec, document: Document) -> None:
    """See that each experiment stands in the section in which DVC knows its dependencies."""
    for name, experiment in project.experiments.items():
        if experiment.removal is not None:
            raise SpecError(
                f"{document.file}: experiments.{name}.mitigations: 'remove' reads the scores of "
                "another experiment; write this one under `derived`, so that DVC runs it after that"
            )
        section = "custom" if name in project.custom else "experiments"
        is_custom = isinstance(experiment.model, CustomSpec)
        if is_custom == (section == "custom"):
            continue
        problem = (
            "is of your own; write this experiment under `custom`, so that DVC trains it again "
            "when its code changes"
            if is_custom
            else f"{experiment.model.kind!r} is not of your own; write this experiment under "
            "`experiments`"
        )
        place = document.place((section, name, "model"))
        raise SpecError(f"{place}: {section}.{name}.model: {problem}")


def _check_policies(project: ProjectSpec, document: Document) -> None:
    """See that each policy is of an experiment."""
    for name in project.policies:
        if name not in project.experiments:
            raise SpecError(
                f"{document.place(('policies', name))}: policies.{name}: no experiment is named "
                f"{name!r}{near_miss(name, project.experiments)}"
            )


def _expanded(
    project: ProjectSpec, document: Document
) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """The entry of `derived` that makes each further experiment, and the experiments, by name."""
    bases = document.data.get("experiments", {}) | document.data.get("custom", {})
    entries: dict[str, str] = {}
    experiments: dict[str, dict[str, Any]] = {}
    for entry, spec in project.derived.items():
        try:
            points = expand(entry, spec, bases)
        except ExpansionError as error:
            place = document.place(error.path)
            raise SpecError(f"{place}: {'.'.join(error.path)}: {error}") from None
        for name in points:
            if name in project.experiments or name in experiments:
                raise SpecError(
                    f"{document.file}: derived.{entry}: there are two experiments {name!r}"
                )
            entries[name] = entry
        experiments |= points
    return entries, experiments


def _select(name: str, among: dict[str, _Selected], what: str) -> _Selected:
    if name not in among:
        raise SpecError(f"no {what} is named {name!r}{near_miss(name, among)}")
    return among[name]
