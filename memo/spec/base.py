"""What every part of the spec has in common."""

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

__all__ = ["Name", "Positive", "Spec"]

Name: TypeAlias = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64),
]
"""A name of a data set or an experiment: it becomes a file name and a DVC stage name."""

Positive: TypeAlias = Annotated[int, Field(ge=1)]


class Spec(BaseModel):
    """A part of ``params.yaml``: unknown keys, coerced types and NaN are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
