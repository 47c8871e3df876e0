"""Specs of scoring: the design, the scored epochs, the likelihood estimator, the aggregate."""

import math
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from memo.spec.base import Positive, Spec
from memo.spec.sample_specs import NeighborsSpec, SamplesSpec
from memo.spec.sampled_likelihood_specs import SampledLikelihoodSpec

LARGEST_PARETO_K = 0.7
"""Pareto k above which standard errors of importance sampling are not to be trusted (Vehtari et al.
2024, section 3.2.4)."""


FEWEST_TO_EXTRAPOLATE = 4
"""Fewest folds of which models without two are trained on half of the observations, or more."""


class _TogetherSpec(Spec):
    """A design that can hold out sets of observations whole."""

    together: Literal["groups", "near-duplicates", "nothing"] | None = Field(
        default=None,
        description="Observations that are held out together. groups: those of one group, as the "
        "`group` of a table or the `groups` of an image folder says. near-duplicates: copies and "
        "near copies, and copies of those, beside groups where there are any. nothing: each on its "
        "own, so that what is left of a group in training hides what is memorized of it. Default: "
        "groups where the data set has them, else nothing.",
    )
    distance: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="For `together: near-duplicates`: Euclidean distance up to which two "
        "observations are near copies, as of the mitigation `deduplicate`; 0: exact copies alone. "
        "Default: that by which `memo prepare` counts them, 5% of the median distance of two "
        "images, 1% of that of others.",
    )

    @model_validator(mode="after")
    def _distance_of_duplicates(self) -> Self:
        if self.distance is not None and self.together != "near-duplicates":
            raise ValueError("distance: goes with `together: near-duplicates` alone")
        return self


class KFoldSpec(_TogetherSpec):
    """Repeated K-fold cross-validation (van den Burg & Williams 2021, Algorithm 1)."""

    kind: Literal["k-fold"]
    folds: int = Field(default=10, ge=2, description="K: number of parts of a random partition.")
    repeats: Positive = Field(
        default=3,
        description="L: number of random partitions. Standard errors need at least 2.",
    )
    first_repeat: int = Field(
        default=0,
        ge=0,
        description="Number of the first repeat, so that several people can train different "
        "repeats of one experiment (docs/sharing.md).",
    )
    extrapolate: bool = Field(
        default=False,
        description="True to extrapolate scores from training sets of n - n/K observations, which "
        "they describe, to all n: half as many models more, each trained without two of the "
        "folds. Needs 4 folds or more, and 2 repeats or more for the error of the correction.",
    )

    @property
    def smaller_models(self) -> int:
        """Models of each repeat that are trained without two folds."""
        return math.ceil(self.folds / 2) if self.extrapolate else 0

    @model_validator(mode="after")
    def _folds_for_pairs(self) -> Self:
        if self.extrapolate and self.folds < FEWEST_TO_EXTRAPOLATE:
            raise ValueError(
                f"extrapolate: of {self.folds} folds, models without two have too little left to "
                f"extrapolate from; set folds to {FEWEST_TO_EXTRAPOLATE} or more"
            )
        return self


class LeaveOneOutSpec(Spec):
    """Each observation left out in turn, exactly and without refits.

    For families whose density at each observation, fitted without it, has a closed form: `normal`,
    and `kde` with a bandwidth that is a number or follows a rule.
    """

    kind: Literal["leave-one-out"]

    @model_validator(mode="before")
    @classmethod
    def _exact(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("extrapolate"):
            raise ValueError(
                "extrapolate: scores of 'leave-one-out' are of training sets of all observations, "
                "and exact: there is nothing to extrapolate; leave it out"
            )
        return given


ROUND = 10
"""Fewest models in a whole round of subsets, which are drawn together."""

TOLERANCE = 1e-6
"""Difference up to which a fraction in decimals, as 0.333333, is one of small integers."""


class SubsetsSpec(_TogetherSpec):
    """Models trained on random subsets of the observations (Feldman & Zhang 2020).

    Subsets are drawn in rounds. Within a round, the numbers of times that two observations are held
    out differ by at most one.
    """

    kind: Literal["subsets"]
    fraction: float = Field(
        gt=0, lt=1, description="Fraction of the observations that each model is trained on."
    )
    models: Positive = Field(
        description="Number of models: whole rounds of 10, or more where it takes more to hold "
        "out, and to train on, each observation once. The last round of a fraction a/b may have "
        "b models, or a multiple: 2 for 1/2, 4 for 3/4, 5 for 4/5. Raising it trains only the new "
        "models."
    )

    @property
    def share(self) -> int:
        """Fewest models by which each observation is held out, and trained on, at least once."""
        return math.ceil(round(1 / min(self.fraction, 1 - self.fraction), 6))

    @property
    def round_size(self) -> int:
        """Number of models in a whole round."""
        return max(ROUND, self.share)

    @property
    def balanced(self) -> int:
        """Fewest models by which each observation is held out equally often: b for a/b."""
        part = Fraction(self.fraction).limit_denominator(self.round_size)
        exact = abs(part - Fraction(self.fraction)) < TOLERANCE
        return part.denominator if exact else self.round_size

    @model_validator(mode="after")
    def _balanced_rounds(self) -> Self:
        if self.models % self.round_size % self.balanced:
            below = self.models - self.models % self.round_size % self.balanced
            full = self.models - self.models % self.round_size + self.round_size
            above = min(below + self.balanced, full)
            near = f"{below} or {above}" if below else str(above)
            raise ValueError(
                f"models: {self.models} do not hold out each observation equally often with "
                f"fraction {self.fraction:g}; {near} do"
            )
        return self


DesignSpec: TypeAlias = Annotated[
    KFoldSpec | LeaveOneOutSpec | SubsetsSpec, Field(discriminator="kind")
]


class ImportanceSpec(Spec):
    """Importance sampling with the encoder as proposal (Burda, Grosse & Salakhutdinov 2016)."""

    kind: Literal["importance"]
    samples: int = Field(
        default=32, ge=2, description="Number of importance samples for each observation and model."
    )

    @property
    def tolerance(self) -> float:
        """Standard error, in nats, above which estimates are marked: none is promised."""
        return math.inf


class AdaptiveSpec(Spec):
    """Importance sampling with a proposal for each observation, until the estimate is precise."""

    kind: Literal["adaptive"]
    tolerance: float = Field(
        default=0.4,
        gt=0,
        description="Standard error of log p(x), in nats, that estimates should not exceed; those "
        "that do are counted and marked. Most estimates of latent-variable models have half of "
        "it, and a bias of half the square of their own standard error.",
    )
    max_samples: int = Field(
        default=4096,
        ge=32,
        description="Largest number of importance samples for each observation and model; "
        "observations that stay above the tolerance are counted and marked.",
    )


OwnLikelihoodSpec: TypeAlias = AdaptiveSpec | ImportanceSpec
"""Estimators that ask the model for log p(x), or for what it is an integral of."""

LikelihoodSpec: TypeAlias = Annotated[
    OwnLikelihoodSpec | SampledLikelihoodSpec, Field(discriminator="kind")
]


def _increasing(epochs: list[int]) -> list[int]:
    if any(later <= earlier for earlier, later in pairwise(epochs)):
        raise ValueError("must increase, each epoch named once")
    return epochs


class ScoringSpec(Spec):
    """Measurements on the trained models."""

    design: DesignSpec = Field(
        description="Choice of the observations that each model is trained on."
    )
    epochs: Annotated[list[Positive], AfterValidator(_increasing)] = Field(
        description="Epochs after which weights are kept and scored, in increasing order; []: the "
        "last one alone, which is all that a density has that is fitted without epochs."
    )
    likelihood: LikelihoodSpec = Field(
        default=AdaptiveSpec(kind="adaptive"),
        description="Estimator of log p(x) where it has no closed form; `samples`: of any model "
        "that can be sampled from.",
    )
    aggregate: Literal["mean-log", "paper"] = Field(
        default="mean-log",
        description="Aggregation of log-likelihoods under many models into one score. mean-log: "
        "the mean log density over all models trained with the observation, minus that over all "
        "models trained without it; unbiased for any number of models. paper: logs of mean "
        "densities in place of means of logs, which a few models with a high density decide.",
    )
    threshold: float = Field(
        default=1.0,
        ge=0,
        allow_inf_nan=False,
        description="Score, in nats, above which an observation counts as memorized.",
    )
    samples: SamplesSpec = Field(
        default=SamplesSpec(), description="Samples that are drawn, for tests on samples."
    )
    neighbors: NeighborsSpec = Field(
        default=NeighborsSpec(),
        description="The nearest-neighbour test on samples that scores are compared with.",
    )
