"""The digits that log p has: numbers too far apart to tell scores by are an error."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memo.errors import WorkError

DISTINCT = 16
"""So many different values never all have the few digits of 16 bits by chance."""

_SHORT = (torch.bfloat16, torch.float16)


class LogDensityError(WorkError):
    """log p(x) is nothing that scores can be made of; the message says why."""


class DependenceError(LogDensityError):
    """log p(x) of an observation is not its own."""


class ResolutionError(LogDensityError):
    """log p(x) has too few digits for differences of it to mean anything; the message says why."""


def spacing(values: NDArray[np.float64], dtype: torch.dtype) -> float:
    """Distance between neighbouring numbers of a type, at the largest of the finite values.

    >>> spacing(np.array([1.0, -5e13]), torch.float32)
    4194304.0
    """
    largest = float(np.abs(values[np.isfinite(values)]).max(initial=0))
    if largest == 0:
        return 0.0
    return float(torch.finfo(dtype).eps * 2.0 ** np.floor(np.log2(largest)))


def precision_of(
    log_p: Tensor, among: Sequence[torch.dtype] = (*_SHORT, torch.float32)
) -> torch.dtype:
    """The type that values were computed in, as far as their digits tell.

    A tensor of float64 whose values all are numbers of float32 has no more digits than those.

    Args:
        log_p: The values.
        among: Types that are thought of, beside the tensor's own.

    >>> precision_of(torch.linspace(-9, -8, 100).bfloat16().double())
    torch.bfloat16
    >>> precision_of(torch.linspace(-9, -8, 100, dtype=torch.float64))
    torch.float64
    """
    many = len(set(log_p.flatten().tolist())) >= DISTINCT
    for dtype in among:
        shorter = torch.finfo(dtype).eps > torch.finfo(log_p.dtype).eps
        thought_of = shorter and (many or not is_short(dtype))
        if thought_of and torch.equal(log_p.to(dtype).double(), log_p.double()):
            return dtype
    return log_p.dtype


def is_short(dtype: torch.dtype) -> bool:
    """True of types of fewer than 32 bits."""
    return torch.finfo(dtype).bits < 32


def require_resolved(values: NDArray[np.float64], dtype: torch.dtype, coarsest: float) -> None:
    """See that neighbouring numbers of a type are near enough, at the largest of the values.

    Args:
        values: log p(x), nats.
        dtype: The type that they were computed in.
        coarsest: Nats that neighbours may lie apart, at most.

    Raises:
        ResolutionError: They lie farther apart, or the type has fewer than 32 bits.
    """
    name = str(dtype).removeprefix("torch.")
    digits = int(1 - np.log2(torch.finfo(dtype).eps))
    if is_short(dtype):
        raise ResolutionError(
            f"log p has the {digits} binary digits of {name}: scores are differences of log p; "
            "compute it in float32 or float64"
        )
    apart = spacing(values, dtype)
    if apart > coarsest:
        finite = values[np.isfinite(values)]
        worst = finite[np.abs(finite).argmax()]
        cure = (
            "compute it in float64 (x.double() and weights alike)"
            if dtype == torch.float32
            else "values of such a size need other units"
        )
        raise ResolutionError(
            f"log p is about {worst:.3g}, where numbers of {name} lie {apart:.2g} nats apart, more "
            f"than the tolerance of {coarsest:g}, so that scores would be rounding: {cure}, or "
            "model the values in units of their spread"
        )
