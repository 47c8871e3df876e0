"""Types and the base class that every part of the spec shares."""

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

Name: TypeAlias = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64),
]
"""Name of a data set or an experiment, which becomes a file name and a DVC stage name."""

Positive: TypeAlias = Annotated[int, Field(ge=1)]
Share: TypeAlias = Annotated[float, Field(gt=0, lt=1)]


def _is_target(target: str) -> str:
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*", target):
        raise ValueError("must be `package.module:name`")
    return target


Target: TypeAlias = Annotated[str, AfterValidator(_is_target)]
"""A class or function of the user's own: `package.module:name`."""

Support: TypeAlias = Literal["binary", "levels", "continuous", "columns"]
"""Values that a density is defined on: {0, 1}, integers from 0, real numbers, or a table's columns
(real numbers and categories)."""


class Spec(BaseModel):
    """A part of `params.yaml`: unknown keys, values of another type and NaN are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def kind_alone(value: Any) -> Any:
    """Read a string, in place of a mapping with `kind`, as that kind with its default options."""
    return {"kind": value} if isinstance(value, str) else value
