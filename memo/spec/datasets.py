"""Specs of data sets: where observations come from and which values are scored."""

from typing import Literal, TypeAlias

from pydantic import Field

from memo.spec.base import Positive, Spec

__all__ = ["DatasetSpec", "DigitsSpec"]

DIGITS = 1797


class DigitsSpec(Spec):
    """scikit-learn's handwritten digits: 1,797 grey images of 8 x 8, ten classes, no download."""

    kind: Literal["digits"]
    values: Literal["binary", "dynamic"] = Field(
        default="binary",
        description="binary: each pixel is drawn once, as Bernoulli(intensity), and never again. "
        "dynamic: pixels are drawn anew at each training step; the scored values are the "
        "fixed draw of `binary` all the same.",
    )
    limit: Positive | None = Field(
        default=None, description="Keep the first so many observations; all of them when absent."
    )
    seed: int = Field(default=0, ge=0, description="Seed of the fixed draw of the scored values.")

    @property
    def observations(self) -> int:
        """How many observations the prepared data set will have."""
        return DIGITS if self.limit is None else min(self.limit, DIGITS)


DatasetSpec: TypeAlias = DigitsSpec
