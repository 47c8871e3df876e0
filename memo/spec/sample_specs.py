"""Specs of the nearest-neighbour test: how many samples, and which space has the distances."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from memo.spec.base import Positive, Spec, Target, kind_alone

__all__ = [
    "CustomSpaceSpec",
    "DownsampledSpaceSpec",
    "EncoderSpaceSpec",
    "NeighborsSpec",
    "PixelSpaceSpec",
    "SamplesSpec",
    "SpaceSpec",
]


class PixelSpaceSpec(Spec):
    """The pixels in [0, 1], as an image file would have them; the columns of other data.

    Binary and dynamic pixels are compared by the values that are scored, since samples are binary
    as well; of continuous ones, the noise and the logit are undone on both sides.
    """

    kind: Literal["pixels"] = "pixels"


class DownsampledSpaceSpec(Spec):
    """Means of squares of 2 x 2 pixels; images must have even height and width."""

    kind: Literal["downsampled"]


class EncoderSpaceSpec(Spec):
    """Means of q(z | x) under the full model's own encoder; for `vae`."""

    kind: Literal["encoder"]


class CustomSpaceSpec(Spec):
    """A feature extractor of the user's own."""

    kind: Literal["custom"]
    target: Target = Field(
        description="`package.module:function`, importable from the project's folder: takes pixels "
        "as `kind: pixels` has them, a float32 tensor (B, *shape) on the CPU, and returns (B, "
        "features). That its code changed is not seen: `dvc repro --force neighbors@<experiment>`.",
    )


_Space: TypeAlias = Annotated[
    PixelSpaceSpec | DownsampledSpaceSpec | EncoderSpaceSpec | CustomSpaceSpec,
    Field(discriminator="kind"),
]
SpaceSpec: TypeAlias = Annotated[
    _Space,
    BeforeValidator(
        kind_alone,
        json_schema_input_type=Literal["pixels", "downsampled", "encoder"] | _Space,
    ),
]
"""`encoder`, or `{kind: encoder}`: a string is the kind."""


class SamplesSpec(Spec):
    """How many samples are drawn from trained models, after the last scored epoch."""

    full_model: Positive | None = Field(
        default=None,
        description="Samples of the full model; as many as `scoring.neighbors` compares with when "
        "absent.",
    )
    fold_models: int = Field(default=0, ge=0, description="Samples of each fold model.")


class NeighborsSpec(Spec):
    """Distances from each observation to its nearest sample and its nearest held-out observation.

    Their ratio is van den Burg & Williams' rho (2021, section 5).
    """

    space: SpaceSpec = Field(
        default=PixelSpaceSpec(), description="Where distances are Euclidean ones."
    )
    samples: Positive | None = Field(
        default=None,
        description="Samples of the full model that are compared; a tenth of the observations when "
        "absent, half of them at most. Each observation is compared with as many others, drawn at random, "
        "in place of held-out data: the smallest of many distances is comparable only to the "
        "smallest of equally many.",
    )

    def sample_count(self, observations: int) -> int:
        """How many samples are drawn, and how many others each observation is compared with."""
        return max(1, observations // 10) if self.samples is None else self.samples
