"""Specs of tests on samples: how many samples, the space of distances, what a replica is."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from memo.spec.base import Positive, Spec, Target, kind_alone


class PixelSpaceSpec(Spec):
    """Pixels in [0, 1], as an image file has them; of other data, the columns.

    Of binary pixels, the values that are scored are compared, since samples are binary
    too. Of continuous pixels, noise and logit are undone in observations and samples.
    """

    kind: Literal["pixels"] = "pixels"


class DownsampledSpaceSpec(Spec):
    """Means over squares of 2 x 2 pixels; images must have even height and width."""

    kind: Literal["downsampled"]


class EncoderSpaceSpec(Spec):
    """Means of q(z | x) under the full model's encoder; for `vae`."""

    kind: Literal["encoder"]


class CustomSpaceSpec(Spec):
    """A feature extractor of the user's own."""

    kind: Literal["custom"]
    target: Target = Field(
        description="`package.module:function`, importable from the project's folder. It takes "
        "pixels as in `kind: pixels`, a float32 tensor (B, *shape) on the CPU, and returns (B, "
        "features). DVC does not see changes to its code: run `dvc repro --force "
        "neighbors@<experiment>`.",
    )


class VisionSpaceSpec(Spec):
    """Features of images by a classifier of torchvision's, whose weights lie in a file.

    Grey images get three equal channels. Images are resized whole, nothing is cropped, and
    normalized, with the side, interpolation, means and deviations of the transform that torchvision
    has for its own weights of the model.
    """

    kind: Literal["torchvision"]
    model: str = Field(
        description="Name of a classifier in `torchvision.models`: `resnet50`, `inception_v3`, "
        "`vit_b_16`."
    )
    weights: str = Field(
        description="File of its state dict, absolute or relative to the project's folder: "
        ".safetensors, or what torch.save wrote, of which nothing but tensors is unpickled. memo "
        "downloads none. A file with other content is another space; for DVC to see that, name the "
        "file under `deps` of the stages `score` and `neighbors` in dvc.yaml."
    )
    layer: str | None = Field(
        default=None,
        description="Module, by its name in `model.named_modules()`, whose output is taken, "
        "flattened; default: what the last layer, that of the classes, is given.",
    )
    components: Positive | None = Field(
        default=None,
        description="Keep so many principal components of the observations' features, as a density "
        "needs, which tells records apart in few dimensions alone; default: all features.",
    )


_Space: TypeAlias = Annotated[
    PixelSpaceSpec | DownsampledSpaceSpec | EncoderSpaceSpec | VisionSpaceSpec | CustomSpaceSpec,
    Field(discriminator="kind"),
]
SpaceSpec: TypeAlias = Annotated[
    _Space,
    BeforeValidator(
        kind_alone,
        json_schema_input_type=Literal["pixels", "downsampled", "encoder"] | _Space,
    ),
]
"""`encoder`, or `{kind: encoder}`: a string stands for the kind."""


class SamplesSpec(Spec):
    """Numbers of samples to draw from trained models, after the last scored epoch."""

    full_model: Positive | None = Field(
        default=None,
        description="Samples of the full model; as many as `scoring.neighbors` compares with when "
        "absent.",
    )
    fold_models: int = Field(
        default=0,
        ge=0,
        description="Samples of each fold model: what replicas of records in training are compared "
        "with, in `scoring.neighbors.replica`; none are drawn by default.",
    )


class RatioReplicaSpec(Spec):
    """By the ratio of a sample's distances to its two nearest records (Yoon et al. 2023)."""

    kind: Literal["ratio"] = "ratio"
    below: float = Field(
        default=1 / 3,
        gt=0,
        le=1,
        description="A sample replicates its nearest record where its distance to that one is "
        "less than so many times its distance to the second nearest. A record that the data have "
        "twice is never replicated by this rule: its copy is as near.",
    )


class DistanceReplicaSpec(Spec):
    """By the distance of a sample to a record alone."""

    kind: Literal["distance"]
    below: float = Field(
        gt=0,
        description="A sample replicates each record that it is nearer to than this, in the space "
        "of the distances.",
    )


_Replica: TypeAlias = Annotated[RatioReplicaSpec | DistanceReplicaSpec, Field(discriminator="kind")]
ReplicaSpec: TypeAlias = Annotated[
    _Replica,
    BeforeValidator(kind_alone, json_schema_input_type=Literal["ratio"] | _Replica),
]
"""`{kind: distance, below: 2.5}`; the string `ratio` stands for that rule with its default."""


TestName: TypeAlias = Literal[
    "closest-record",
    "nearest-ratio",
    "authenticity",
    "cosine-distance",
    "feature-likelihood",
    "data-copying",
    "precision-recall",
    "two-samples",
]
"""Tests on samples that may run beside the distance ratio."""

CHEAP: tuple[TestName, ...] = (
    "closest-record",
    "nearest-ratio",
    "authenticity",
    "cosine-distance",
    "data-copying",
    "precision-recall",
    "two-samples",
)


class NeighborsSpec(Spec):
    """Distances from each observation to its nearest sample and its nearest held-out observation.

    Their ratio is van den Burg & Williams' rho (2021, section 5).
    """

    space: SpaceSpec = Field(
        default=PixelSpaceSpec(), description="Space of the Euclidean distances."
    )
    samples: Positive | None = Field(
        default=None,
        description="Number of samples of the full model that are compared; default: a tenth of "
        "the number of observations; at most half of it. In place of held-out data, each "
        "observation is also compared with as many others, drawn at random: the smallest of many "
        "distances is comparable only to the smallest of equally many.",
    )
    tests: list[TestName] = Field(
        default=[*CHEAP],
        description="Tests on samples that run beside the distance ratio, which always does "
        "(docs/sample-tests.md); default: all but `feature-likelihood`, which fits a mixture of as "
        "many components as there are samples. What they say of each observation is taken from the "
        "full model's samples; their numbers, which need a null, from those of fold models, where "
        "`scoring.samples.fold_models` is set.",
    )
    replica: ReplicaSpec = Field(
        default=RatioReplicaSpec(),
        description="Rule by which a sample counts as a replica of a record, in the same space. "
        "All samples of the full model are compared with all records. With "
        "`scoring.samples.fold_models` set, so are those of each fold model, which tells how many "
        "records would be replicated that a model was not trained on.",
    )

    def sample_count(self, observations: int) -> int:
        """Number of samples, and of other observations that each one is compared with."""
        return max(1, observations // 10) if self.samples is None else self.samples
