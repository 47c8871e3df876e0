"""The grid to which a column of numbers was rounded."""

import math

import numpy as np
from numpy.typing import NDArray

DIGITS = 9
"""Most decimals of a grid."""

MISS = 1e-6
"""Fraction of the step by which a number may miss a multiple, as `dequantize` allows."""

ROUNDING = 1e-3
"""Fraction of the smallest step by which sums of steps may miss, before all is checked exactly."""

EXACT = 2.0**53
"""Integers below are exact in float64."""

FINEST = 1e-6
"""Smallest step, as a fraction of the range of the numbers; float32 has little room below."""

SMALLEST = 1e-300
"""Smallest number of which fractions are exact enough to be compared."""


def common_step(numbers: NDArray[np.float64]) -> float | None:
    """Greatest step of which all numbers are multiples; None where they have none.

    Args:
        numbers: (n,), finite.

    Example:
        >>> common_step(np.array([3750.0, 3800.0, 3250.0, 3475.0]))
        25.0
        >>> common_step(np.array([0.125, 2.5, 1.0, -0.25]))
        0.125
        >>> common_step(np.array([0.1, 0.7, np.sqrt(2)])) is None
        True
    """
    sizes = np.unique(np.abs(numbers))
    sizes = sizes[sizes > 0]
    if not len(sizes) or sizes[0] < SMALLEST:
        return None
    step = _decimal_step(sizes) or _any_step(sizes)
    span = float(numbers.max() - numbers.min())
    return step if step is not None and step >= max(SMALLEST, FINEST * span) else None


def _decimal_step(sizes: NDArray[np.float64]) -> float | None:
    """The step of numbers of few decimals, as an exact decimal."""
    for digits in range(DIGITS + 1):
        units = sizes * 10.0**digits
        if units[-1] >= EXACT:
            return None
        whole = np.rint(units)
        if whole[0] > 0 and np.abs(units - whole).max() <= MISS:
            common = int(np.gcd.reduce(whole.astype(np.int64)))
            step = float(f"{common}e-{digits}")
            return step if is_grid(sizes, step) else None
    return None


def _any_step(sizes: NDArray[np.float64]) -> float | None:
    """The step of numbers that decimals do not write, such as thirds, by Euclid's algorithm."""
    rough = float(sizes[0])
    for size in sizes:
        rough = _divisor(rough, float(size), FINEST * float(sizes[-1]))
        if rough == 0:
            return None
    step = float(sizes[-1]) / round(float(sizes[-1]) / rough)
    return step if is_grid(sizes, step) else None


def _divisor(a: float, b: float, smallest: float) -> float:
    """Greatest common divisor of two numbers to within rounding; 0 where it is no larger."""
    slack = ROUNDING * smallest
    while b > slack:
        a, b = b, math.fmod(a, b)
        if a - b < slack:  # rounding made a multiple fall short of itself
            b = 0.0
    return a if a > smallest else 0.0


def is_grid(numbers: NDArray[np.float64], step: float) -> bool:
    """True where all numbers are multiples of the step, as `dequantize` demands."""
    steps = numbers / step
    return bool((np.abs(steps - np.rint(steps)) <= MISS).all())
