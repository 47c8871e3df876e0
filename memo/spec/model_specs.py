"""Specs of densities: the family and its size."""

from collections.abc import Sequence
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


class MLPSpec(Spec):
    """Multilayer perceptrons; the decoder mirrors the encoder."""

    kind: Literal["mlp"]
    hidden: list[Positive] = Field(
        default=[256, 128], min_length=1, description="Widths of the encoder's hidden layers."
    )


class ConvSpec(Spec):
    """Four strided convolutions as in DCGAN (Radford et al. 2016), with group normalization.

    Height and width of the images must be multiples of 16.
    """

    kind: Literal["conv"]
    features: Positive = Field(
        default=32, description="Channels of the first convolution; the other three double them."
    )


NetworkSpec: TypeAlias = Annotated[MLPSpec | ConvSpec, Field(discriminator="kind")]


class BernoulliSpec(Spec):
    """Independent binary pixels."""

    kind: Literal["bernoulli"] = "bernoulli"
    support: ClassVar[Support] = "binary"


class GaussianSpec(Spec):
    """Independent Gaussian pixels that share one learned variance."""

    kind: Literal["gaussian"]
    floor: float | None = Field(
        default=None,
        gt=0,
        description="Standard deviation added to the learned one, in units of the data set's "
        "values; without it the likelihood has no upper bound.",
    )
    support: ClassVar[Support] = "continuous"


class DiagonalGaussianSpec(Spec):
    """Independent Gaussian pixels with means and variances from the decoder."""

    kind: Literal["diagonal-gaussian"]
    floor: float = Field(
        default=0.01,
        gt=0,
        description="Lower bound on the standard deviation of a pixel, in units of the data set's "
        "values; without it the likelihood has no upper bound (Mattei & Frellsen 2018).",
    )
    support: ClassVar[Support] = "continuous"


class LogisticMixtureSpec(Spec):
    """Discretized mixture of logistics (Salimans et al. 2017) over integer levels."""

    kind: Literal["logistic-mixture"]
    components: Positive = Field(
        default=10, description="Number of mixture components for each pixel."
    )
    levels: int = Field(
        default=256, ge=2, description="Number of integer levels of a pixel, 0 ... levels - 1."
    )
    support: ClassVar[Support] = "levels"


class ColumnsSpec(Spec):
    """A table's columns, independent given z: numbers are Gaussian, categories categorical."""

    kind: Literal["columns"]
    floor: float = Field(
        default=0.01,
        gt=0,
        description="Standard deviation added to the learned one of each numeric column, in units "
        "of the data set's values (of a standardized column: its standard deviation); without it "
        "the likelihood has no upper bound.",
    )
    support: ClassVar[Support] = "columns"


class SizedColumnsSpec(ColumnsSpec):
    """`ColumnsSpec` for the columns of one data set; never written in params.yaml."""

    categories: list[int] = Field(description="Number of categories of each such column.")


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
"""`bernoulli`, or `{kind: bernoulli}`: a string stands for the kind with its default options."""


class VAESpec(Spec):
    """Variational autoencoder (Kingma & Welling 2014) with a standard normal prior."""

    kind: Literal["vae"]
    network: NetworkSpec = Field(description="Architecture of encoder and decoder.")
    latent: Positive = Field(default=8, description="Number of latent variables.")
    observation: ObservationSpec = Field(
        default=BernoulliSpec(), description="Likelihood p(x | z)."
    )
    by_gradient: ClassVar[bool] = True
    """True where the density is trained by gradient descent; of a custom model unknown as yet."""
    leaves_one_out: ClassVar[bool] = False

    posterior_variance_floor: float | None = Field(
        default=None, gt=0, description="Variance added to that of q(z | x) in each dimension."
    )

    @property
    def support(self) -> Support:
        """Values that the density is defined on."""
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
    """True where leave-one-out densities have a closed form that equals those of refits."""


class KDESpec(Spec):
    """Kernel density estimate with a Gaussian product kernel."""

    kind: Literal["kde"]
    bandwidth: Literal["scott", "silverman", "cross-validated"] | Annotated[float, Field(gt=0)] = (
        Field(
            default="scott",
            description="scott, silverman: each column's standard deviation times the factor of "
            "that rule (Scott 1992, eq. 6.42). cross-validated: times the factor that maximizes "
            "the leave-one-out likelihood. A number: that bandwidth in each column, in units of "
            "the data set's values.",
        )
    )
    by_gradient: ClassVar[bool] = False
    support: ClassVar[Support] = "continuous"

    @property
    def leaves_one_out(self) -> bool:
        """True unless a refit would choose its bandwidth by cross-validation again."""
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
        "rational-quadratic splines (Durkan et al. 2019), the identity outside of [-5, 5]. "
        "coupling: affine couplings (Dinh et al. 2017)."
    )
    transforms: Positive = Field(default=3, description="Number of transformations.")
    hidden: list[Positive] = Field(
        default=[64, 64], min_length=1, description="Hidden widths of each transformation."
    )
    by_gradient: ClassVar[bool] = True
    support: ClassVar[Support] = "continuous"
    leaves_one_out: ClassVar[bool] = False


class GANSpec(Spec):
    """Generative adversarial network (Goodfellow et al. 2014): samples, and no log p(x).

    Generator and critic take their steps at the same time, by one optimizer.
    """

    kind: Literal["gan"]
    network: NetworkSpec = Field(
        description="Architecture: the critic is an encoder to one number, the generator a decoder."
    )
    latent: Positive = Field(default=16, description="Number of latent variables.")
    loss: Literal["hinge", "wasserstein-gp"] = Field(
        default="hinge",
        description="hinge: Lim & Ye (2017). wasserstein-gp: Wasserstein with gradient penalty "
        "(Gulrajani et al. 2017).",
    )
    penalty: float = Field(
        default=1.0,
        ge=0,
        description="Weight of the gradient penalty: for wasserstein-gp, of squared distances of "
        "gradients' norms from one between observations and samples; for hinge, of half their "
        "squared norms at observations (R1, Mescheder et al. 2018).",
    )
    average: float = Field(
        default=0.99,
        ge=0,
        lt=1,
        description="Part of the generator's weights that a running mean over steps keeps in each; "
        "samples are drawn from that mean (Yazici et al. 2019). 0: from the weights of the last.",
    )
    momentum: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="Part of the mean of gradients that Adam keeps in each step, 0.9 in other "
        "models: with as much, players who move at once run around each other (Radford et al. "
        "2016).",
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
    """A density of your own, `Class(shape, **arguments)` for observations of that shape.

    docs/custom-models.md says what it must offer; that is checked before anything is trained.
    """

    kind: Literal["custom"]
    target: Target = Field(description="`package.module:Class`, in the project's folder.")
    code: Annotated[str, AfterValidator(_is_below)] = Field(
        description="The file of that module, or a folder with the module and everything else of "
        "yours that it imports. When it changes, models are trained anew."
    )
    arguments: dict[str, JsonValue] = Field(default={}, description="Keyword arguments.")
    by_gradient: ClassVar[bool] = True
    leaves_one_out: ClassVar[bool] = True
    """Decided by the class, once it is imported."""

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
        """The code, once the experiment is loaded; None before."""
        return self._source

    @property
    def support(self) -> Support | None:
        """Values of the data set, once the experiment is loaded; None before."""
        return self._support

    def loaded(self, source: Code, support: Support | None) -> "CustomSpec":
        """A copy with its code, for observations with values of that kind."""
        copy = self.model_copy()
        copy._source, copy._support = source, support
        return copy


ModelSpec: TypeAlias = Annotated[
    VAESpec | NormalSpec | KDESpec | GaussianMixtureSpec | FlowSpec | GANSpec | CustomSpec,
    Field(discriminator="kind"),
]


def source_of(model: ModelSpec) -> Code | None:
    """The code of a model of the user's own; None for memo's families."""
    return model.source if isinstance(model, CustomSpec) else None


def completed_model(model: ModelSpec, categories: Sequence[int]) -> ModelSpec:
    """Complete a density by the number of categories of each categorical column of a table."""
    if not isinstance(model, VAESpec) or not isinstance(model.observation, ColumnsSpec):
        return model
    sized = SizedColumnsSpec(
        kind="columns", floor=model.observation.floor, categories=list(categories)
    )
    return model.model_copy(update={"observation": sized})
