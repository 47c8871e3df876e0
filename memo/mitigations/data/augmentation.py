"""Random changes of the observations at each training step."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from memo.mitigations.mitigation import Draws, Mitigation, Problem, Surroundings
from memo.spec.dataset_specs import ImagesSpec

if TYPE_CHECKING:
    from torch import Tensor


class AugmentationSpec(Mitigation):
    """Change each observation at random at each training step; never when it is scored."""

    kind: Literal["augmentation"]
    flips: bool = Field(default=False, description="Mirror images left and right half the time.")
    shifts: int = Field(
        default=0,
        ge=0,
        description="Move images by up to so many pixels up or down, left or right; the border "
        "pixels are repeated.",
    )
    noise: float = Field(
        default=0.0,
        ge=0,
        description="Of binary pixels: the probability with which each is inverted. Of real "
        "numbers: the standard deviation of added normal noise, in units of the values.",
    )

    by_gradient: ClassVar[bool] = True
    fixed_stream: ClassVar[int | None] = 7

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not (self.flips or self.shifts or self.noise):
            raise ValueError("needs one of `flips`, `shifts` and `noise`")
        return self

    def problems(self, around: Surroundings) -> Iterator[Problem]:
        """Refuse changes that the data set's values cannot take."""
        dataset = around.dataset
        if not isinstance(dataset, ImagesSpec):
            for name in ("flips", "shifts"):
                if getattr(self, name):
                    yield Problem(
                        name, f"is for images, not for data sets of kind {dataset.kind!r}"
                    )
        elif dataset.shape is not None and self.shifts >= min(dataset.shape[1:]):
            size = f"{dataset.shape[1]} x {dataset.shape[2]}"
            yield Problem("shifts", f"moves images of {size} out of sight")
        if self.noise and dataset.support == "levels":
            message = "is for binary or continuous values, not for integer levels"
            yield Problem("noise", message)
        if self.noise >= 0.5 and dataset.support == "binary":
            message = "inverts binary pixels with a probability that must be below 0.5"
            yield Problem("noise", message)

    def category_problems(self, columns: str) -> Iterator[Problem]:
        """Refuse noise on categories."""
        if self.noise:
            yield Problem("noise", f"is for numbers, but there are {columns}")

    def augmented(self, x: "Tensor", draws: Draws, *, binary: bool) -> "Tensor":
        """Mirror, then move, then add noise or invert pixels."""
        if self.flips:
            x = x.flip(-1).where(draws.uniform(1, 1, 1) < 0.5, x)
        if self.shifts:
            x = self._moved(x, draws)
        if self.noise and binary:
            x = (1 - x).where(draws.uniform(*x.shape[3:]) < self.noise, x)
        elif self.noise:
            x = x + self.noise * draws.normal(*x.shape[3:])
        return x

    def _moved(self, x: "Tensor", draws: Draws) -> "Tensor":
        """Move each image by its own whole number of rows and columns."""
        moves = (draws.uniform(2) * (2 * self.shifts + 1)).floor() - self.shifts
        for axis in (-2, -1):
            size = x.shape[axis]
            sources = x.new_tensor(range(size)) - moves[..., axis, None]
            index = sources.clamp(0, size - 1).long()
            index = index[..., None, :, None] if axis == -2 else index[..., None, None, :]
            x = x.gather(axis, index.expand_as(x))
        return x
