"""Specs of data sets: where observations come from and which values are scored."""

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from memo.spec.base import Positive, Spec, Support

__all__ = [
    "ArraySpec",
    "CIFAR10Spec",
    "CelebASpec",
    "DatasetSpec",
    "DigitsSpec",
    "FashionMNISTSpec",
    "FilesSpec",
    "ImageFolderSpec",
    "ImagesSpec",
    "MNISTSpec",
    "SyntheticSpec",
    "TableSpec",
]


class _SourceSpec(Spec):
    """What every data set has."""

    kind: str
    seed: int = Field(
        default=0, ge=0, lt=2**63, description="Seed of the fixed draw of the scored values."
    )


class ImagesSpec(_SourceSpec):
    """What every data set of images has: shape, values, and what training may do to them.

    Shape: `crop`, then `size`, then `pad`.
    """

    native: ClassVar[tuple[int, int, int] | None] = None
    """Channels, height and width of the source's images, where all are alike."""

    source_observations: ClassVar[int | None] = None
    """How many images the source has, where that is known."""

    depth: ClassVar[int] = 256
    """How many integer levels a pixel has: 0 ... depth - 1."""

    values: Literal["binary", "dynamic", "levels", "continuous"] = Field(
        default="binary",
        description="binary: each pixel is drawn once, as Bernoulli(intensity), and never again. "
        "dynamic: pixels are drawn anew at each training step; the scored values are the "
        "fixed draw of `binary` all the same. "
        "levels: the integers as they are. "
        "continuous: uniform noise within each level, drawn once, then a logit; log p is given in "
        "the space of the pixels all the same.",
    )
    logit_lambda: float = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="Of `values: continuous`: x = logit(lambda + (1 - 2 lambda) pixel), for pixels "
        "in [0, 1] (Papamakarios et al. 2017, who take 1e-6 for MNIST and 0.05 for CIFAR-10).",
    )
    crop: Positive | None = Field(
        default=None, description="Keep the central square of so many pixels' side."
    )
    size: Positive | None = Field(
        default=None,
        description="Resize to a square of so many pixels' side; of an image that is not square, "
        "the largest central square is kept first.",
    )
    pad: int = Field(default=0, ge=0, description="Add so many black pixels on every side.")
    flips: bool = Field(
        default=False,
        description="Mirror left and right with probability 1/2 at each training step. The scored "
        "values are never mirrored.",
    )
    limit: Positive | None = Field(
        default=None, description="Keep the first so many observations; all of them when absent."
    )

    @property
    def observations(self) -> int | None:
        """How many observations the prepared data set will have; None before it is read."""
        known = self.source_observations
        return known if known is None or self.limit is None else min(self.limit, known)

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Shape of the prepared images; None before they are read."""
        square = self.size or self.crop
        if square is None and self.native is None:
            return None
        height, width = (square, square) if square else (self.native or (0, 0, 0))[1:]
        return (self._channels, height + 2 * self.pad, width + 2 * self.pad)

    @property
    def support(self) -> Support:
        """Which values a density of these observations must be defined on."""
        return "binary" if self.values == "dynamic" else self.values

    @property
    def _channels(self) -> int:
        return 0 if self.native is None else self.native[0]


class DigitsSpec(ImagesSpec):
    """scikit-learn's handwritten digits: 1,797 grey images of 8 x 8, ten classes, no download."""

    kind: Literal["digits"]
    native = (1, 8, 8)
    source_observations = 1797
    depth = 17


class _FilesSpec(ImagesSpec):
    """What every data set has whose official files torchvision can download."""

    root: str = Field(
        default="data/sources", description="Folder of the source's files, below the project's."
    )
    download: bool = Field(
        default=True, description="Whether torchvision may download files that are missing."
    )


class MNISTSpec(_FilesSpec):
    """MNIST (LeCun et al. 1998): the 60,000 training images of handwritten digits, 28 x 28."""

    kind: Literal["mnist"]
    native = (1, 28, 28)
    source_observations = 60_000


class FashionMNISTSpec(_FilesSpec):
    """Fashion-MNIST (Xiao et al. 2017): the 60,000 training images of clothes, 28 x 28."""

    kind: Literal["fashion-mnist"]
    native = (1, 28, 28)
    source_observations = 60_000


class CIFAR10Spec(_FilesSpec):
    """CIFAR-10 (Krizhevsky 2009): the 50,000 training images in ten classes, 3 x 32 x 32."""

    kind: Literal["cifar10"]
    native = (3, 32, 32)
    source_observations = 50_000


class CelebASpec(_FilesSpec):
    """CelebA (Liu et al. 2015): the 162,770 training images of faces, aligned, 3 x 218 x 178."""

    kind: Literal["celeba"]
    native = (3, 218, 178)
    source_observations = 162_770


class ImageFolderSpec(ImagesSpec):
    """A folder or tree of image files; an image's label is the name of the folder it lies in."""

    kind: Literal["image-folder"]
    path: str = Field(description="The folder; a relative path starts at the project's.")
    channels: Literal[1, 3] = Field(default=3, description="1: grey. 3: red, green, blue.")
    unreadable: Literal["error", "skip"] = Field(
        default="error",
        description="What an image that cannot be read is: error: a reason to stop, once all are "
        "known. skip: listed in dataset.json and left out.",
    )

    @property
    def _channels(self) -> int:
        return self.channels


class SyntheticSpec(_SourceSpec):
    """A mixture of Gaussians in one or two dimensions, with planted outliers and duplicates.

    Ids and labels tell which observation is which.
    """

    kind: Literal["synthetic"]
    dimensions: Literal[1, 2] = Field(default=2, description="Columns of an observation.")
    components: Positive = Field(
        default=3,
        description="Equally likely Gaussians of standard deviation 0.5, on a circle of radius 3 "
        "or evenly from -3 to 3.",
    )
    count: Positive = Field(default=200, description="Observations of the mixture.")
    outliers: int = Field(
        default=0, ge=0, description="Further observations, each 8 to 12 from the centre."
    )
    duplicates: int = Field(
        default=0,
        ge=0,
        description="Further observations, each an exact copy of another of the mixture.",
    )
    support: ClassVar[Support] = "continuous"

    @property
    def observations(self) -> int:
        """How many observations the prepared data set will have."""
        return self.count + self.outliers + self.duplicates

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an observation."""
        return (self.dimensions,)


class TableSpec(_SourceSpec):
    """A table: one record a row, columns of numbers and of categories.

    A record becomes one vector: its numbers, then a 1 among zeros for each category. Text and
    booleans are categories; numbers are numbers, but for those under `categorical`.
    """

    kind: Literal["table"]
    path: str = Field(
        description="The file, below the project's folder: Parquet where its name ends in "
        "`.parquet`, else CSV in UTF-8 whose first line has the columns' names."
    )
    separator: str = Field(
        default=",",
        pattern=r"^[\t !#-~]$",
        description="What stands between the fields of a CSV file's line, one character.",
    )
    id: str | None = Field(
        default=None,
        description="Column whose value follows each record into its scores; no two are the same. "
        "When absent, records are called by their number, from `record 1` on.",
    )
    label: str | None = Field(
        default=None, description="Column that is kept aside as label, and not modelled."
    )
    columns: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Columns that are modelled, in this order; all but `id`, `label` and `drop` "
        "when absent.",
    )
    drop: list[str] = Field(default=[], description="Columns that are not modelled.")
    categorical: list[str] = Field(
        default=[], description="Columns whose numbers are names of categories."
    )
    missing: Literal["refuse", "impute"] = Field(
        default="refuse",
        description="What a value that is missing from a modelled column is: refuse: a reason to "
        "stop. impute: replaced by the column's median or most frequent category, and then scored "
        "as if it had been observed; dataset.json counts them.",
    )
    missing_values: list[str] = Field(
        default=["", "NA", "N/A", "NaN", "nan", "NULL", "null", "?"],
        description="Texts that stand for a missing value; spaces around a text never count.",
    )
    standardize: bool = Field(
        default=True,
        description="Subtract each numeric column's mean and divide by its standard deviation. "
        "log p is given in the columns' own units all the same. Both numbers are those of the "
        "whole data set, since the same x must be scored under every model: two numbers a column "
        "know a little of each held-out record.",
    )
    dequantize: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={},
        description="Numeric columns that were rounded, and to multiples of what: uniform noise of "
        "that width is drawn once for each record (Uria et al. 2013), so that log p is of a "
        "density and not of spikes on a few values, which have no upper bound; plus the log of "
        "the widths, it bounds the log-probability of the rounded values from below in the mean "
        "(Theis et al. 2016). Without it, a column of few values can be scored all the same, but "
        "a model that finds them out gains nats in training and held out.",
    )
    support: ClassVar[Support] = "columns"
    observations: ClassVar[None] = None
    shape: ClassVar[None] = None


DatasetSpec: TypeAlias = Annotated[
    DigitsSpec
    | MNISTSpec
    | FashionMNISTSpec
    | CIFAR10Spec
    | CelebASpec
    | ImageFolderSpec
    | SyntheticSpec
    | TableSpec,
    Field(discriminator="kind"),
]

FilesSpec: TypeAlias = Annotated[ImageFolderSpec | TableSpec, Field(discriminator="kind")]
"""Data sets that are read from files of the user's own, at their `path`."""


class ArraySpec(Spec):
    """Observations in memory, of which no file says anything."""

    kind: Literal["array"] = "array"
    support: Support
    shape: tuple[int, ...]
    observations: int
