"""Parts of a spec that are given on the command line, in YAML."""

from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from memo.errors import InputError, one_line
from memo.spec.base import Spec

_Some = TypeVar("_Some", bound=Spec)


def settings_in(text: str, option: str) -> dict[str, Any]:
    """Settings written in YAML.

    Args:
        text: A mapping, as `{kind: k-fold, folds: 5}`.
        option: The option that gives it, for messages.

    Raises:
        InputError: It is not a mapping in YAML.
    """
    try:
        given = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise InputError(f"{option}: is not YAML: {one_line(str(error)):.200}") from None
    if not isinstance(given, dict):
        raise InputError(f"{option}: is no mapping, as '{{kind: ...}}': {text!r:.80}")
    return given


def validated(spec: type[_Some], given: dict[str, Any], option: str) -> _Some:
    """The part of a spec that settings make.

    Raises:
        InputError: They do not; says where the first thing is wrong.
    """
    try:
        return spec.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(f"{part}: " for part in first["loc"])
        raise InputError(f"{option}: {place}{first['msg']}") from None
