"""Specs of data sets: where observations come from and which values are scored."""

from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from memo.spec.base import Positive, Spec, Support


class _SourceSpec(Spec):
    """A data set of any kind."""

    kind: str
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="Seed of the fixed draw of the scored values, and of which a `limit` keeps.",
    )


def _not_dynamic(values: Any) -> Any:
    if values == "dynamic":
        raise ValueError("is now written `values: binary` with `drawn: each-step`")
    return values


Values: TypeAlias = Annotated[
    Literal["binary", "levels", "continuous"], BeforeValidator(_not_dynamic)
]


class ImagesSpec(_SourceSpec):
    """A data set of images: their shape, the values that are scored, and random flips in training.

    Images are shaped by `crop`, then `size`, then `pad`.
    """

    native: ClassVar[tuple[int, int, int] | None] = None
    """Channels, height and width of the images in the source; None where that varies."""

    source_observations: ClassVar[int | None] = None
    """Number of images in the source; None where it is not known before they are read."""

    depth: ClassVar[int] = 256
    """Number of integer levels of a pixel, 0 ... depth - 1."""

    values: Values = Field(
        default="binary",
        description="The values that are scored, drawn once. binary: each pixel from "
        "Bernoulli(intensity). levels: the integer levels. continuous: the logit of the level "
        "plus uniform noise within it; log p is still given in the space of the pixels.",
    )
    drawn: Literal["once", "each-step"] = Field(
        default="once",
        description="Treatment of binary or continuous values in training. once: models are "
        "trained on the values that are scored. each-step: each training step draws them anew from "
        "the pixels, so that no model can memorize the noise of a draw (docs/images.md).",
    )
    logit_lambda: float = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="For `values: continuous`: x = logit(lambda + (1 - 2 lambda) pixel), with "
        "pixels in [0, 1] (Papamakarios et al. 2017, who take 1e-6 for MNIST and 0.05 for "
        "CIFAR-10).",
    )
    crop: Positive | None = Field(
        default=None, description="Keep the central square of this side length, in pixels."
    )
    size: Positive | None = Field(
        default=None,
        description="Resize to a square of this side length, in pixels; images that are not "
        "square are first cropped to their largest central square.",
    )
    pad: int = Field(default=0, ge=0, description="Black pixels to add on each side.")
    flips: bool = Field(
        default=False,
        description="Mirror images left to right with probability 1/2 at each training step. "
        "Scored values are never mirrored.",
    )
    limit: Positive | None = Field(
        default=None,
        description="Keep only so many observations, drawn at random from the seed, with as large "
        "a share of each label as the source has; default: all.",
    )

    @property
    def observations(self) -> int | None:
        """Number of observations in the prepared data set; None before it is read."""
        known = self.source_observations
        return known if known is None or self.limit is None else min(self.limit, known)

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Channels, height and width of the prepared images; None before they are read."""
        return None if self.native is None else self._shaped(*self.native)

    @property
    def support(self) -> Support:
        """Values that a density of these observations must be defined on."""
        return self.values

    @model_validator(mode="after")
    def _something_is_drawn(self) -> Self:
        if self.values == "levels" and self.drawn == "each-step":
            raise ValueError(
                "`drawn: each-step` is for binary or continuous values: nothing of "
                "`values: levels` is drawn"
            )
        return self

    def _shaped(self, channels: int, height: int, width: int) -> tuple[int, int, int]:
        side = self.size or self.crop
        if side is not None:
            height = width = side
        return (channels, height + 2 * self.pad, width + 2 * self.pad)


class DigitsSpec(ImagesSpec):
    """Handwritten digits that come with scikit-learn: 1,797 grey images of 8 x 8, ten classes."""

    kind: Literal["digits"]
    native = (1, 8, 8)
    source_observations = 1797
    depth = 17


class DownloadedSpec(ImagesSpec):
    """A data set of images whose files torchvision can download."""

    root: str = Field(
        default="data/sources", description="Folder of the source's files, from the project's."
    )
    download: bool = Field(default=True, description="Let torchvision download missing files.")


class MNISTSpec(DownloadedSpec):
    """MNIST (LeCun et al. 1998): the 60,000 training images of handwritten digits, 28 x 28."""

    kind: Literal["mnist"]
    native = (1, 28, 28)
    source_observations = 60_000


class FashionMNISTSpec(DownloadedSpec):
    """Fashion-MNIST (Xiao et al. 2017): the 60,000 training images of clothes, 28 x 28."""

    kind: Literal["fashion-mnist"]
    native = (1, 28, 28)
    source_observations = 60_000


class CIFAR10Spec(DownloadedSpec):
    """CIFAR-10 (Krizhevsky 2009): the 50,000 training images in ten classes, 3 x 32 x 32."""

    kind: Literal["cifar10"]
    native = (3, 32, 32)
    source_observations = 50_000


class CelebASpec(DownloadedSpec):
    """CelebA (Liu et al. 2015): the 162,770 training images of aligned faces, 3 x 218 x 178."""

    kind: Literal["celeba"]
    native = (3, 218, 178)
    source_observations = 162_770


class ImageFolderSpec(ImagesSpec):
    """A folder or tree of image files; the label of an image is the name of its folder.

    BMP, GIF, JPEG, PNG, PPM, TIFF and WebP files of at most 8 bits a channel are read, with one
    picture each. They are turned as their EXIF orientation says.
    """

    kind: Literal["image-folder"]
    path: str = Field(description="The folder, absolute or relative to the project's.")
    channels: Literal[1, 3] = Field(default=3, description="1: grey. 3: red, green, blue.")
    background: Literal["white", "black"] = Field(
        default="white", description="Colour on which transparent images are laid."
    )
    groups: str | None = Field(
        default=None,
        description="CSV file in the folder, as a path below it, with columns `file` (an image's "
        "path below the folder) and `group`: images of one group, as those of one person, are held "
        "out together, and a `limit` draws whole groups. Each image must have one.",
    )
    unreadable: Literal["error", "skip"] = Field(
        default="error",
        description="Treatment of images that cannot be read. error: stop, and list all of them. "
        "skip: leave them out, and list them in dataset.json.",
    )

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Channels, height and width of the prepared images; None before they are read."""
        return self._shaped(self.channels, 0, 0) if self.size or self.crop else None


class SyntheticSpec(_SourceSpec):
    """A mixture of Gaussians in one or two dimensions, with planted outliers and duplicates.

    Ids and labels tell which observations are planted.
    """

    kind: Literal["synthetic"]
    dimensions: Literal[1, 2] = Field(default=2, description="Columns of an observation.")
    components: Positive = Field(
        default=3,
        description="Number of equally likely Gaussians. Their standard deviation is 0.5; their "
        "centres lie on a circle of radius 3, or in one dimension evenly from -3 to 3.",
    )
    count: Positive = Field(default=200, description="Observations drawn from the mixture.")
    outliers: int = Field(
        default=0, ge=0, description="Further observations, each 8 to 12 away from the origin."
    )
    duplicates: int = Field(
        default=0,
        ge=0,
        description="Further observations, each an exact copy of one of the mixture.",
    )
    support: ClassVar[Support] = "continuous"

    @property
    def observations(self) -> int:
        """Number of observations in the prepared data set."""
        return self.count + self.outliers + self.duplicates

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an observation."""
        return (self.dimensions,)


class TableSpec(_SourceSpec):
    """A table: one record a row, with columns of numbers and of categories.

    A record becomes one vector: its numbers, then for each category a 1 among zeros. Text and
    booleans are categories; numbers are numbers, except in columns under `categorical`.
    """

    kind: Literal["table"]
    path: str = Field(
        description="The file, absolute or relative to the project's folder: Parquet, or CSV in "
        "UTF-8 (UTF-16 with a byte order mark), which gzip, bzip2 or xz may have compressed. What "
        "it is, its first bytes say."
    )
    separator: str = Field(
        default=",", pattern=r"^[\t !#-~]$", description="Character between the fields of CSV."
    )
    header: bool | None = Field(
        default=None,
        description="Treatment of the first line of CSV. true: names of the columns. false: a "
        "record; columns are then named `column 1`, `column 2` and so on. Default: names, and "
        "refused where one of them is a number.",
    )
    decimal: Literal[".", ","] = Field(
        default=".", description="Mark before the decimals of numbers that are written as text."
    )
    thousands: Literal[",", ".", " ", "'"] | None = Field(
        default=None,
        description="Mark between groups of three digits of numbers that are written as text; "
        "default: none.",
    )
    dates: dict[str, str | None] = Field(
        default={},
        description="Columns of dates or times, each with its format as of Python's `strptime` "
        "(`%Y-%m-%d`), or null for Parquet's own dates, times and durations. A date becomes a "
        "number: days since 1970-01-01, with times of the day as fractions; a time of the day or "
        "a duration becomes days, too.",
    )
    id: str | None = Field(
        default=None,
        description="Column of unique names, which follow the records into their scores; default: "
        "`record 1`, `record 2` and so on.",
    )
    label: str | None = Field(
        default=None, description="Column that is kept as label, and not modelled."
    )
    group: str | None = Field(
        default=None,
        description="Column of groups, and not modelled: records of one group, as those of one "
        "person, are held out together, and a `limit` draws whole groups. Each record must have "
        "one.",
    )
    columns: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Columns that are modelled, in this order; default: all but those of `id`, "
        "`label`, `group`, `drop`.",
    )
    drop: list[str] = Field(default=[], description="Columns that are not modelled.")
    categorical: list[str] = Field(
        default=[], description="Columns whose numbers are names of categories."
    )
    missing: Literal["refuse", "impute", "category"] = Field(
        default="refuse",
        description="Treatment of missing values in modelled columns. refuse: stop. impute: "
        "replace them by the column's median (the nearest multiple of its step, where it is under "
        "`dequantize`) or most frequent category, and score these as if they had been observed; "
        "dataset.json counts them. category: numbers as with impute, but in columns of categories "
        "absence is a category of its own.",
    )
    missing_values: list[str] = Field(
        default=["", "NA", "N/A", "NaN", "nan", "NULL", "null", "?"],
        description="Texts that stand for a missing value; spaces around a text do not count. "
        "Where such a text looks like the other categories of a column (`NA` among countries), it "
        "counts as missing only if this key is written.",
    )
    limit: Positive | None = Field(
        default=None,
        description="Keep only so many records, drawn at random from the seed, in the proportions "
        "of their labels; default: all.",
    )
    standardize: bool = Field(
        default=True,
        description="Subtract each numeric column's mean and divide by its standard deviation; "
        "log p is still given in the columns' own units. Mean and standard deviation are those of "
        "the whole data set, since the same x must be scored under every model: so two numbers "
        "for each column depend a little on held-out records.",
    )
    dequantize: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={},
        description="Numeric columns that were rounded, each with the step whose multiples its "
        "numbers are. Uniform noise as wide as the step is drawn once for each record (Uria et "
        "al. 2013). Without it, a model of a column with few different values can raise its "
        "density there without bound, in training and held out. With it, log p plus the log of "
        "the steps is on average at most the log-probability of the rounded values (Theis et al. "
        "2016).",
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
"""Data sets that are read from the user's own files, at their `path`."""


class ArraySpec(Spec):
    """Observations in memory, which are described by no file."""

    kind: Literal["array"] = "array"
    support: Support
    shape: tuple[int, ...]
    observations: int
