"""A prepared data set: the observations that are trained on and scored."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.errors import InputError

__all__ = ["DataError", "Prepared", "content_hash"]


class DataError(InputError):
    """A data set cannot be used; the message names it and says why."""


@dataclass(frozen=True)
class Prepared:
    """Observations, the same for every model that is trained or scored on them."""

    scored: NDArray[Any]
    """(n, *shape): the values whose density is measured, drawn once for each observation."""

    observations: pl.DataFrame
    """`index`, `id`, `label` of each observation, in order."""

    intensities: NDArray[np.float32] | None = None
    """(n, *shape) in [0, 1]: probabilities from which training draws its pixels anew."""

    facts: dict[str, Any] = field(default_factory=dict)
    """What a reader may want to know: kind, source, licence."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one observation."""
        return tuple(self.scored.shape[1:])

    @property
    def training_values(self) -> Literal["fixed", "drawn"]:
        """Whether training sees the scored values or draws its own from the intensities."""
        return "fixed" if self.intensities is None else "drawn"

    def __len__(self) -> int:
        return len(self.scored)


def content_hash(prepared: Prepared) -> str:
    """SHA-256 over values, ids and labels: what the trained models are a function of."""
    digest = hashlib.sha256()
    for array in (prepared.scored, prepared.intensities):
        if array is not None:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    records = prepared.observations.select("id", "label").to_dict(as_series=False)
    digest.update(json.dumps(records).encode())
    return digest.hexdigest()
