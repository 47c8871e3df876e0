"""Specs of log p(x) as a model's samples tell it."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from memo.spec.base import Positive, Spec, kind_alone
from memo.spec.sample_specs import (
    CustomSpaceSpec,
    DownsampledSpaceSpec,
    EncoderSpaceSpec,
    PixelSpaceSpec,
    VisionSpaceSpec,
)


class ValuesSpaceSpec(Spec):
    """The values that the model is trained on: log p is that of the observations themselves.

    Numbers are measured in units of their standard deviation; categories and binary pixels are
    equal or not.
    """

    kind: Literal["values"] = "values"


class PrincipalSpaceSpec(Spec):
    """The first principal components of the observations, in pixels as in `pixels`."""

    kind: Literal["principal"]
    components: Positive = Field(description="Number of components.")


_Space: TypeAlias = Annotated[
    ValuesSpaceSpec
    | PrincipalSpaceSpec
    | PixelSpaceSpec
    | DownsampledSpaceSpec
    | EncoderSpaceSpec
    | VisionSpaceSpec
    | CustomSpaceSpec,
    Field(discriminator="kind"),
]
DensitySpaceSpec: TypeAlias = Annotated[
    _Space,
    BeforeValidator(
        kind_alone,
        json_schema_input_type=Literal["values", "pixels", "downsampled", "encoder"] | _Space,
    ),
]
"""`values`, or `{kind: values}`: a string stands for the kind."""


class SampledLikelihoodSpec(Spec):
    """log p(x) from samples of the model, for models that have nothing else, and for others.

    Under each model equally many are drawn for all observations; what models of a repeat draw
    from is the same random numbers.
    """

    kind: Literal["samples"]
    estimator: Literal["kernel", "nearest", "flow"] = Field(
        default="kernel",
        description="kernel: a kernel density estimate, with the bandwidth under which samples of "
        "the full model that were set aside are likeliest, the same for all models; in 4 to 8 "
        "columns of numbers extrapolated to a bandwidth of zero from two. nearest: the share of "
        "samples that lie nearer than the k-th nearest, over the volume that they are in "
        "(Loftsgaarden & Quesenberry 1965), k large enough for a quarter of the tolerance; for "
        "numbers. flow: two normalizing flows (autoregressive splines, Durkan et al. 2019), "
        "each fitted to half of the samples, a tenth of which it is stopped by; log p is their "
        "mean, and its standard error comes from how far they are apart; for numbers, and "
        "slow. In 6 dimensions 95% intervals of scores held the exact ones in about 90% by "
        "kernels, in a fifth to a half by nearest samples, and in three quarters by flows.",
    )
    tolerance: float = Field(
        default=0.4,
        gt=0,
        description="Standard error of log p(x), in nats, that estimates should not exceed; those "
        "that do are counted and marked. The number of samples of a model is doubled until nine "
        "tenths of its estimates have a quarter of it.",
    )
    max_samples: int = Field(
        default=100_000, ge=1000, description="Largest number of samples of each model."
    )
    space: DensitySpaceSpec = Field(
        default=ValuesSpaceSpec(),
        description="Space of the density. In any but `values`, log p and scores are of what "
        "observations are mapped to, and not of themselves.",
    )
