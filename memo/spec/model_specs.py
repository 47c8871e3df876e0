"""Specs of densities: which family, of what shape."""

from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    PrivateAttr,
    model_validator,
)

from memo.spec.base import Positive, Spec, Support, Target, kind_alone
from memo.spec.user_code import Code

__all__ = [
    "BernoulliSpec",
    "ColumnsSpec",
    "ConvSpec",
    "CustomSpec",
    "DiagonalGaussianSpec",
    "FlowSpec",
    "GaussianMixtureSpec",
    "GaussianSpec",
    "KDESpec",
    "LogisticMixtureSpec",
    "MLPSpec",
    "ModelSpec",
    "NetworkSpec",
    "NormalSpec",
    "ObservationSpec",
    "SizedColumnsSpec",
    "VAESpec",
    "source_of",
]


class MLPSpec(Spec):
    """A multilayer perceptron; the decoder mirrors the encoder."""

    kind: Literal["mlp"]
    hidden: list[Positive] = Field(
        default=[256, 128],
        min_length=1,
        description="Widths of the encoder's hidden layers, from the data to the latent variables.",
    )


class ConvSpec(Spec):
    """DCGAN's four strided convolutions (Radford et al. 2016) with group normalization.

    Height and width of the images must be multiples of 16.
    """

    kind: Literal["conv"]
    features: Positive = Field(
        default=32,
        description="Channels after the first convolution; each of the three others doubles them.",
    )


NetworkSpec: TypeAlias = Annotated[MLPSpec | ConvSpec, Field(discriminator="kind")]


class BernoulliSpec(Spec):
    """Independent binary pixels."""

    kind: Literal["bernoulli"] = "bernoulli"
    support: ClassVar[Support] = "binary"


class GaussianSpec(Spec):
    """Independent Gaussian pixels of one learned variance, the same for all of them."""

    kind: Literal["gaussian"]
    floor: float | None = Field(
        default=None,
        gt=0,
        description="Standard deviation that is added to the learned one, in units of the data "
        "set's values: without one the likelihood has no upper bound.",
    )
    support: ClassVar[Support] = "continuous"


class DiagonalGaussianSpec(Spec):
    """Independent Gaussian pixels, whose means and variances both come from the decoder."""

    kind: Literal["diagonal-gaussian"]
    floor: float = Field(
        default=0.01,
        gt=0,
        description="Standard deviation that no pixel falls below, in units of the data set's "
        "values: without one the likelihood has no upper bound (Mattei & Frellsen 2018).",
    )
    support: ClassVar[Support] = "continuous"


class LogisticMixtureSpec(Spec):
    """Discretized mixture of logistics (Salimans et al. 2017) over integer levels."""

    kind: Literal["logistic-mixture"]
    components: Positive = Field(default=10, description="Mixture components of each pixel.")
    levels: int = Field(
        default=256, ge=2, description="How many integer levels a pixel has: 0 ... levels - 1."
    )
    support: ClassVar[Support] = "levels"


class ColumnsSpec(Spec):
    """A table's columns, independent given z: Gaussian numbers, categorical categories."""

    kind: Literal["columns"]
    floor: float = Field(
        default=0.01,
        gt=0,
        description="Standard deviation that is added to each numeric column's learned one, in "
        "units of the data set's values (of a standardized column, its own standard deviation): "
        "without one the likelihood has no upper bound.",
    )
    support: ClassVar[Support] = "columns"


class SizedColumnsSpec(ColumnsSpec):
    """The same for one data set; `memo.spec.completed_model` makes it, nobody writes it."""

    categories: list[int] = Field(description="How many each categorical column has.")


_Observation: TypeAlias = Annotated[
    BernoulliSpec | GaussianSpec | DiagonalGaussianSpec | LogisticMixtureSpec | ColumnsSpec,
    Field(discriminator="kind"),
]
ObservationSpec: TypeAlias = Annotated[
    _Observation,
    BeforeValidator(
        kind_alone,
        json_schema_input_type=Literal[
            "bernoulli", "gaussian", "diagonal-gaussian", "logistic-mixture", "columns"
        ]
        | _Observation,
    ),
]
"""`bernoulli`, or `{kind: bernoulli}`: a string is the kind, with its options at their defaults."""


class VAESpec(Spec):
    """Variational autoencoder (Kingma & Welling 2014) with a standard normal prior."""

    kind: Literal["vae"]
    network: NetworkSpec = Field(description="Architecture of encoder and decoder.")
    latent: Positive = Field(default=8, description="Number of latent variables.")
    observation: ObservationSpec = Field(
        default=BernoulliSpec(), description="The likelihood p(x | z) of the pixels."
    )
    by_gradient: ClassVar[bool] = True
    """True where the density is trained by gradient descent; of a custom model unknown as yet."""
    leaves_one_out: ClassVar[bool] = False

    posterior_variance_floor: float | None = Field(
        default=None, gt=0, description="Variance that is added to q(z | x)'s in each variable."
    )

    @property
    def support(self) -> Support:
        """Which values the density is defined on."""
        return self.observation.support


class NormalSpec(Spec):
    """Multivariate normal with full covariance, fitted by maximum likelihood in closed form."""

    kind: Literal["normal"]
    ridge: float = Field(
        default=0.0,
        ge=0,
        description="Variance added to each column, in squared units of the data set's values.",
    )
    by_gradient: ClassVar[bool] = False
    support: ClassVar[Support] = "continuous"
    leaves_one_out: ClassVar[bool] = True
    """Whether its leave-one-out densities have a closed form, which equals that of refits."""


class KDESpec(Spec):
    """Kernel density estimate with a Gaussian product kernel."""

    kind: Literal["kde"]
    bandwidth: Literal["scott", "silverman", "cross-validated"] | Annotated[float, Field(gt=0)] = (
        Field(
            default="scott",
            description="scott, silverman: a rule's factor times each column's standard deviation "
            "(Scott 1992, eq. 6.42). cross-validated: the factor that maximizes the leave-one-out "
            "likelihood. A number: that bandwidth in each column, in units of the values.",
        )
    )
    by_gradient: ClassVar[bool] = False
    support: ClassVar[Support] = "continuous"

    @property
    def leaves_one_out(self) -> bool:
        """As of `NormalSpec`: a refit would choose a cross-validated bandwidth anew."""
        return self.bandwidth != "cross-validated"


class GaussianMixtureSpec(Spec):
    """Mixture of Gaussians with full covariances, fitted by expectation maximization."""

    kind: Literal["gaussian-mixture"]
    components: Positive = Field(default=2, description="Number of Gaussians.")
    ridge: float = Field(
        default=1e-6,
        gt=0,
        description="Variance added to each column, in squared units of the data set's values.",
    )
    by_gradient: ClassVar[bool] = False
    support: ClassVar[Support] = "continuous"
    leaves_one_out: ClassVar[bool] = False


class FlowSpec(Spec):
    """Normalizing flow to a standard normal, trained on the exact log-likelihood."""

    kind: Literal["flow"]
    architecture: Literal["maf", "nsf", "coupling"] = Field(
        description="maf: masked autoregressive (Papamakarios et al. 2017). nsf: autoregressive "
        "rational-quadratic splines (Durkan et al. 2019), which bend within [-5, 5]. coupling: "
        "affine couplings (Dinh et al. 2017)."
    )
    transforms: Positive = Field(default=3, description="Number of transformations in sequence.")
    hidden: list[Positive] = Field(
        default=[64, 64], min_length=1, description="Hidden widths of each transformation's MLP."
    )
    by_gradient: ClassVar[bool] = True
    support: ClassVar[Support] = "continuous"
    leaves_one_out: ClassVar[bool] = False


def _is_below(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path:
        raise ValueError("must be a file or folder in the project's folder, as `model.py`")
    return path


class CustomSpec(Spec):
    """A density of your own: `Class(shape, **arguments)`, shape being that of one observation.

    What it must offer is in docs/custom-models.md, and is checked before anything is trained.
    """

    kind: Literal["custom"]
    target: Target = Field(description="`package.module:Class`, from the project's folder.")
    code: Annotated[str, AfterValidator(_is_below)] = Field(
        description="The file of that module, or a folder with it and all else that it imports of "
        "yours. When it changes, models are trained anew."
    )
    arguments: dict[str, JsonValue] = Field(default={}, description="Keywords for the class.")
    by_gradient: ClassVar[bool] = True
    leaves_one_out: ClassVar[bool] = True
    """So far as is known before the class is."""

    _source: Code | None = PrivateAttr(default=None)
    _support: Support | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _has_module(self) -> Self:
        module = self.target.partition(":")[0].replace(".", "/")
        files = {PurePosixPath(f"{module}.py"), PurePosixPath(module, "__init__.py")}
        code = PurePosixPath(self.code)
        if not any(file == code or code in file.parents for file in files):
            raise ValueError(
                f"`code` must be {module}.py, or a folder that it lies in, for target "
                f"{self.target!r}"
            )
        return self

    @property
    def source(self) -> Code | None:
        """The code itself, once an experiment is loaded."""
        return self._source

    @property
    def support(self) -> Support | None:
        """Values of the data set that it is used on, once an experiment is loaded."""
        return self._support

    def loaded(self, source: Code, support: Support | None) -> "CustomSpec":
        """The same with its code, for observations with such values."""
        copy = self.model_copy()
        copy._source, copy._support = source, support
        return copy


ModelSpec: TypeAlias = Annotated[
    VAESpec | NormalSpec | KDESpec | GaussianMixtureSpec | FlowSpec | CustomSpec,
    Field(discriminator="kind"),
]


def source_of(model: ModelSpec) -> Code | None:
    """The code of a model of the user's own."""
    return model.source if isinstance(model, CustomSpec) else None
