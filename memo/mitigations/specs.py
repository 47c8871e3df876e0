"""Specs of mitigations: changes to training or data that should lower memorization.

They act in this order, whatever the order of the list: on the data that a model is trained on
(`remove`, `deduplicate`, `augmentation`), on its loss and parametrization (`kl-weight`,
`posterior-variance`, `observation-variance`, `dropout`, `spectral-norm`), on the optimizer's loop
(`learning-rate`, `weight-decay`, `early-stopping`, `dp-sgd`), and on the density that is released
(`ensemble`, `background`). What is absent is None and stays out of fingerprints, so that a further
option leaves trained models as they are.
"""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from memo.spec.base import Name, Positive, Spec

__all__ = [
    "AugmentationSpec",
    "BackgroundSpec",
    "CosineSpec",
    "DPSGDSpec",
    "DeduplicateSpec",
    "DropoutSpec",
    "EarlyStoppingSpec",
    "EnsembleSpec",
    "KLWeightSpec",
    "LearningRateSpec",
    "MitigationSpec",
    "ObservationVarianceSpec",
    "PosteriorVarianceSpec",
    "RemoveSpec",
    "ScheduleSpec",
    "SpectralNormSpec",
    "StepSpec",
    "WeightDecaySpec",
]

Share: TypeAlias = Annotated[float, Field(gt=0, lt=1)]


class DeduplicateSpec(Spec):
    """Train on one of each group of duplicates: the one of the lowest index.

    It acts on each model's own training set, so that a held-out twin does not hide its like.
    """

    kind: Literal["deduplicate"]
    distance: float = Field(
        default=0.0,
        ge=0,
        description="Euclidean distance of the values up to which two observations are duplicates; "
        "0: exact ones only. Of binary pixels, its square is how many differ.",
    )


class RemoveSpec(Spec):
    """Leave the observations that another experiment memorized most out of every training set.

    They stay in the data set and are scored, so that partitions are those of the other experiment.
    """

    kind: Literal["remove"]
    of: Name = Field(description="The experiment whose scores say which.")
    count: Positive | None = Field(default=None, description="How many.")
    quantile: Share | None = Field(
        default=None, description="Or: all whose score is above this quantile of the scores."
    )

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if (self.count is None) == (self.quantile is None):
            raise ValueError("needs one of `count` and `quantile`")
        return self


class AugmentationSpec(Spec):
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

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not (self.flips or self.shifts or self.noise):
            raise ValueError("needs one of `flips`, `shifts` and `noise`")
        return self


class KLWeightSpec(Spec):
    """Train on reconstruction + weight * divergence from the prior (Higgins et al. 2017)."""

    kind: Literal["kl-weight"]
    weight: float = Field(default=1.0, ge=0, description="Factor on the divergence (beta).")
    free_nats: float = Field(
        default=0.0,
        ge=0,
        description="Divergence of each latent variable, in nats, below which it costs no less "
        "(Kingma et al. 2016, for each observation instead of a minibatch's mean).",
    )

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.weight == 1 and self.free_nats == 0:
            raise ValueError("needs a `weight` other than 1, or `free_nats`")
        return self


class PosteriorVarianceSpec(Spec):
    """Keep the variance of q(z | x) above a floor, so that no observation owns a point of z."""

    kind: Literal["posterior-variance"]
    floor: float = Field(gt=0, description="Variance added to that of each latent variable.")


class ObservationVarianceSpec(Spec):
    """Keep the variance of Gaussian pixels or columns above a floor, so that none grows spikes."""

    kind: Literal["observation-variance"]
    floor: float = Field(
        gt=0,
        description="Variance, in squared units of the values, whose root is the standard "
        "deviation that no pixel or column falls below.",
    )


class DropoutSpec(Spec):
    """Set hidden units to zero at random while training (Srivastava et al. 2014).

    Units of a perceptron, whole channels of a convolution; those that stay are scaled up.
    """

    kind: Literal["dropout"]
    rate: Share = Field(description="Probability with which each unit is dropped.")
    networks: Literal["encoder", "decoder", "both"] = Field(
        default="both", description="Whose hidden units."
    )


class SpectralNormSpec(Spec):
    """Keep the largest singular value of each decoder layer below a bound.

    By projection after each step (Gouk et al. 2021), so that the trained weights satisfy it.
    """

    kind: Literal["spectral-norm"]
    bound: float = Field(default=1.0, gt=0, description="The largest singular value allowed.")


class CosineSpec(Spec):
    """Half a cosine from the learning rate down to a share of it."""

    kind: Literal["cosine"]
    final: float = Field(
        default=0.0, ge=0, lt=1, description="Share that would be reached after the last epoch."
    )


class StepSpec(Spec):
    """The learning rate times `factor` after every so many epochs."""

    kind: Literal["step"]
    every: Positive = Field(description="Epochs between two changes.")
    factor: Share = Field(default=0.1, description="Factor of each change.")


ScheduleSpec: TypeAlias = Annotated[CosineSpec | StepSpec, Field(discriminator="kind")]


class LearningRateSpec(Spec):
    """Train with the learning rate times `scale`, on a schedule over epochs."""

    kind: Literal["learning-rate"]
    scale: float = Field(default=1.0, gt=0, description="Factor on `training.learning_rate`.")
    schedule: ScheduleSpec | None = Field(default=None, description="Constant when absent.")


class WeightDecaySpec(Spec):
    """Shrink weights by the learning rate times `decay` at each step (Loshchilov & Hutter 2019).

    Matrices and convolution kernels; biases, normalizations and variances are left alone.
    """

    kind: Literal["weight-decay"]
    decay: float = Field(gt=0, description="The rate, lambda.")


class EarlyStoppingSpec(Spec):
    """Stop when the loss on a validation split no longer falls, and restore the best weights.

    The split is taken from each model's own training set, never from what it has held out. At a
    scored epoch stand the best weights up to it.
    """

    kind: Literal["early-stopping"]
    patience: Positive = Field(default=10, description="Epochs without a new lowest loss.")
    fraction: Share = Field(
        default=0.1, description="Share of the training set that is validated on, not trained on."
    )


class DPSGDSpec(Spec):
    """Clip each observation's gradient and add noise to their sum (Abadi et al. 2016).

    Minibatches are Poisson samples of `training.batch_size` observations on average, as Opacus'
    accountant assumes; the optimizer that uses the noisy gradients is the same as without.
    """

    kind: Literal["dp-sgd"]
    clip: float = Field(
        default=1.0, gt=0, description="Norm that no observation's gradient exceeds."
    )
    noise_multiplier: float | None = Field(
        default=None, gt=0, description="Standard deviation of the noise, in units of `clip`."
    )
    epsilon: float | None = Field(
        default=None, gt=0, description="Or: the epsilon that all epochs may spend."
    )
    delta: float = Field(default=1e-5, gt=0, lt=1, description="delta of (epsilon, delta).")

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if (self.noise_multiplier is None) == (self.epsilon is None):
            raise ValueError("needs one of `noise_multiplier` and `epsilon`")
        return self


class EnsembleSpec(Spec):
    """Release the mean density of K models, each trained without one of K parts of the data.

    They are the fold models of a repeat: nothing is trained for it.
    """

    kind: Literal["ensemble"]


class BackgroundSpec(Spec):
    """Release a mixture of the model and a broad density, fitted to the same training set.

    No score can be above what the mixture's density owes to the broad one: it bounds how far the
    density can fall where an observation is left out. Nothing is trained for it.
    """

    kind: Literal["background"]
    density: Literal["frequencies", "normal", "kde"] = Field(
        description="frequencies: each pixel's levels by their frequencies, one added to each "
        "count. normal: with full covariance and `ridge`. kde: by Scott's rule.",
    )
    weight: Share | Literal["fitted"] = Field(
        default="fitted",
        description="Weight of the broad density; fitted: the one of highest held-out likelihood.",
    )
    ridge: float = Field(
        default=1e-3,
        ge=0,
        description="Of `normal`: variance added to each column, in squared units of the values.",
    )


MitigationSpec: TypeAlias = Annotated[
    RemoveSpec
    | DeduplicateSpec
    | AugmentationSpec
    | KLWeightSpec
    | PosteriorVarianceSpec
    | ObservationVarianceSpec
    | DropoutSpec
    | SpectralNormSpec
    | LearningRateSpec
    | WeightDecaySpec
    | EarlyStoppingSpec
    | DPSGDSpec
    | EnsembleSpec
    | BackgroundSpec,
    Field(discriminator="kind"),
]
