"""Settings of the training loop, and the mitigations that act in it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memo.mitigations.kinds import in_order
from memo.mitigations.mitigation import Loss, Mitigation
from memo.mitigations.steps.learning_rate import CosineSpec, StepSpec
from memo.spec.training_specs import Precision, TrainingSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class TrainingPlan:
    """Settings of the training loop, mitigations applied."""

    epochs: int
    batch_size: int
    learning_rate: float
    precision: Precision = "float32"
    schedule: CosineSpec | StepSpec | None = None
    """Constant when None."""
    weight_decay: float = 0.0
    mitigations: tuple[Mitigation, ...] = ()
    """In the order in which they act; their hooks are called where the loop has them."""

    @property
    def by_observation(self) -> bool:
        """True where models are trained one by one, on Poisson samples of their training sets."""
        return any(mitigation.by_observation for mitigation in self.mitigations)

    def rate(self, epoch: int) -> float:
        """Learning rate in an epoch, counted from 1."""
        factor = 1.0 if self.schedule is None else self.schedule.rate_factor(epoch, self.epochs)
        return self.learning_rate * factor

    def loss(self, model: "nn.Module") -> Loss:
        """Make the function that is minimized: the model's own loss, changed by mitigations."""
        loss = Loss(model.loss, int(model.noise_features))  # type: ignore[arg-type]
        for mitigation in self.mitigations:
            loss = mitigation.changed_loss(model, loss)
        return loss


def training_plan(training: TrainingSpec, mitigations: Iterable[Mitigation]) -> TrainingPlan:
    """Apply mitigations to the settings; learning rates in the order of the spec."""
    ordered = in_order(mitigations)
    plan = TrainingPlan(
        training.epochs,
        training.batch_size,
        training.learning_rate,
        training.precision,
        mitigations=ordered,
    )
    for mitigation in ordered:
        plan = mitigation.changed_plan(plan)
    return plan
