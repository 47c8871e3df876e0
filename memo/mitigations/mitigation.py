"""The class of mitigations: facts about a kind, and hooks that do nothing unless filled."""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeAlias

from memo.design.k_fold import IndexArray
from memo.spec.base import Spec
from memo.spec.dataset_specs import ArraySpec, DatasetSpec
from memo.spec.model_specs import ModelSpec
from memo.spec.scoring_specs import DesignSpec
from memo.spec.training_specs import TrainingSpec

if TYPE_CHECKING:
    import polars as pl
    import torch
    from numpy.random import SeedSequence
    from torch import Tensor, nn

    from memo.datasets.prepared import Prepared
    from memo.mitigations.release import Release
    from memo.mitigations.steps.early_stopping import EarlyStopping
    from memo.mitigations.training_plan import TrainingPlan


class Problem(NamedTuple):
    """A reason why a mitigation cannot be used in an experiment."""

    key: str
    """Key of the mitigation at which it shows."""
    message: str


@dataclass(frozen=True)
class Surroundings:
    """Parts of an experiment that a mitigation must go with."""

    model: ModelSpec
    training: TrainingSpec
    design: DesignSpec
    dataset: DatasetSpec | ArraySpec
    kinds: frozenset[str]
    """Kinds of all mitigations of the experiment."""


@dataclass(frozen=True)
class Loss:
    """A function that is minimized: (B, *shape), (B, noise_features) -> (B,), in nats."""

    function: "Callable[[Tensor, Tensor], Tensor]"
    noise_features: int
    """Number of standard normal draws for each observation, all the randomness there is."""


class Stack(Protocol):
    """S models that are trained together, as `memo.training.stack.Stack`."""

    module: "nn.Module"
    """The architecture that they share; its own weights are meaningless."""

    @property
    def parameters(self) -> "list[Tensor]":
        """Weights, (S, ...); those of a single model without the first axis."""

    def matrices(self, prefix: str = "", exactly: bool = False) -> "list[Tensor]":
        """Parameters that are matrices in each model, or kernels unless `exactly`, by prefix."""

    def gradients(self, x: "Tensor", noise: "Tensor") -> "list[Tensor]":
        """Gradients of each observation by itself, (B, ...), in a stack of one model."""


Gradient: TypeAlias = "Callable[[Tensor, Tensor, Tensor], Sequence[Tensor]]"
"""A function from observations, noise and weights, each (S, B, ...), to gradients for a stack's
parameters, in the same layout. Those of model s are row s of `gradient.reshape(S, -1)`."""


class Draws(Protocol):
    """Random numbers for the observations of S models in T steps; each call gives others."""

    def uniform(self, *shape: int) -> "Tensor":
        """Uniform draws from [0, 1) for each observation, (T, S, B, *shape)."""

    def normal(self, *shape: int) -> "Tensor":
        """Standard normal draws for each observation, (T, S, B, *shape)."""


@dataclass(frozen=True)
class Run:
    """The training of one stack."""

    plan: "TrainingPlan"
    stack: Stack
    members: Sequence[IndexArray]
    """Training set of each model."""
    streams: "Mapping[str, Sequence[torch.Generator]]"
    """Each model's own random streams by the kind of the mitigation that draws from them."""


@dataclass(frozen=True)
class ScoredModels:
    """The models of a design, as far as promises and released densities depend on them."""

    data: "Prepared"
    members: Sequence[IndexArray]
    """Training set of each model."""
    training: TrainingSpec
    design: DesignSpec
    last_epoch: int
    """The last scored epoch."""


class Mitigation(Spec):
    """A change to data, training or released density that should lower memorization.

    A kind is one file with a subclass: its options, what it does not go with and why, the hooks
    that it fills, and the facts that it stores with scores. Hooks of an experiment's mitigations
    are called in the order of `memo.mitigations.kinds`, whatever their order in params.yaml. They
    take tensors without importing torch, which takes longer than reading a spec may.
    """

    kind: str

    repeatable: ClassVar[bool] = False
    """True where an experiment may name it several times."""
    by_gradient: ClassVar[bool] = False
    """True where it changes steps of gradient descent, and is for models that have such steps."""
    for_vae: ClassVar[bool] = False
    """True where it is for models of kind `vae` alone."""
    by_training_sets: ClassVar[bool] = False
    """True where it changes training sets, or uses models that were trained on different ones."""
    of_the_released_density: ClassVar[bool] = False
    """True where trained models are the same with it and without, and so are their fingerprints."""
    by_observation: ClassVar[bool] = False
    """True where it acts on the gradient of each observation: models are then trained one by one
    instead of in stacks, on Poisson samples of their training sets."""
    not_with: ClassVar[Mapping[str, str]] = {}
    """Kinds that it does not go with, and why."""
    stored: ClassVar[Sequence[str]] = ()
    """Names of the facts that it stores with scores: numbers, or lists of indices."""
    fixed_stream: ClassVar[int | None] = None
    """Position of its random stream among a model's, where earlier versions have fixed it."""

    @property
    def stream(self) -> int:
        """Position of its random stream among a model's."""
        fixed = self.fixed_stream
        return zlib.crc32(self.kind.encode()) if fixed is None else fixed

    # What it does not go with

    def problems(self, around: Surroundings) -> Iterator[Problem]:
        """Find what it does not go with in an experiment, beside what the facts above say."""
        yield from ()

    def category_problems(self, columns: str) -> Iterator[Problem]:
        """Find what it does not go with in a table whose categorical columns are these."""
        yield from ()

    def custom_model_problems(self, stack: Stack, x: "Tensor") -> Iterator[str]:
        """Find what it does not go with in a model of the user's own.

        Args:
            stack: A stack of one such model.
            x: Some observations, (n, *shape).
        """
        yield from ()

    # Hooks on data

    def training_filter(self, data: "Prepared") -> Callable[[IndexArray], IndexArray]:
        """Make the function that leaves observations out of a training set."""
        return lambda members: members

    def augmented(self, x: "Tensor", draws: Draws, *, binary: bool) -> "Tensor":
        """Change what models see in T steps.

        Args:
            x: Observations, (T, S, B, *shape).
            draws: Random numbers from its stream.
            binary: True for binary pixels.
        """
        return x

    # Hooks on model and loss

    def changed_model(self, model: ModelSpec) -> ModelSpec:
        """Change the density that is trained, scored and sampled."""
        return model

    def changed_loss(self, model: "nn.Module", loss: Loss) -> Loss:
        """Change what training minimizes, but not what is scored."""
        return loss

    # Hooks on the steps of the optimizer

    def changed_plan(self, plan: "TrainingPlan") -> "TrainingPlan":
        """Change settings of the training loop."""
        return plan

    def stopping(
        self, members: Sequence[IndexArray], seeds: "Sequence[SeedSequence]"
    ) -> "EarlyStopping | None":
        """Make the rule that ends a training before its last epoch.

        Args:
            members: Training set of each model.
            seeds: Seed of its stream, for each model.
        """
        return None

    def changed_gradient(self, run: Run, gradient: Gradient) -> Gradient:
        """Change the gradients that the optimizer is given."""
        return gradient

    def after_step(self, stack: Stack) -> None:
        """Change weights in place after each step."""

    # Hooks on the density that is released, and facts

    def release(self, models: ScoredModels) -> "Release | None":
        """Make the density that is released of a design's models."""
        return None

    def facts(self, models: ScoredModels) -> dict[str, Any]:
        """Facts to store with the scores of a design's models."""
        return {}

    @classmethod
    def paragraph(
        cls, values: Mapping[str, Any], scores: "pl.DataFrame", *, density: bool
    ) -> tuple[str, str] | None:
        """Title and text for the report.

        Args:
            values: The facts in `stored`.
            scores: Scores at the last epoch.
            density: True where p(x) is a density, and not a probability.
        """
        return None

    def determinants(self) -> dict[str, Any]:
        """Everything that determines trained models."""
        return self.model_dump(exclude_none=True)
