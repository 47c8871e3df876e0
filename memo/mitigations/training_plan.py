"""What the spec's training and mitigations come to."""

from dataclasses import dataclass, replace

from memo.mitigations.specs import (
    AugmentationSpec,
    DPSGDSpec,
    DropoutSpec,
    EarlyStoppingSpec,
    MitigationSpec,
    ScheduleSpec,
)
from memo.spec.training_specs import Precision, TrainingSpec

__all__ = ["TrainingPlan", "training_plan"]


@dataclass(frozen=True)
class TrainingPlan:
    """The settings of the training loop, mitigations applied."""

    epochs: int
    batch_size: int
    learning_rate: float
    precision: Precision = "float32"
    schedule: ScheduleSpec | None = None
    weight_decay: float = 0.0
    kl_weight: float = 1.0
    free_nats: float = 0.0
    dropout: DropoutSpec | None = None
    spectral_bound: float | None = None
    augmentation: AugmentationSpec | None = None
    early_stopping: EarlyStoppingSpec | None = None
    privacy: DPSGDSpec | None = None


def training_plan(training: TrainingSpec, mitigations: list[MitigationSpec]) -> TrainingPlan:
    """Apply the mitigations that act on the loop; learning rates in the order of the spec."""
    plan = TrainingPlan(
        training.epochs,
        training.batch_size,
        training.learning_rate,
        training.precision,
    )
    for mitigation in mitigations:
        match mitigation.kind:
            case "learning-rate":
                plan = replace(
                    plan,
                    learning_rate=plan.learning_rate * mitigation.scale,
                    schedule=mitigation.schedule or plan.schedule,
                )
            case "weight-decay":
                plan = replace(plan, weight_decay=mitigation.decay)
            case "kl-weight":
                plan = replace(plan, kl_weight=mitigation.weight, free_nats=mitigation.free_nats)
            case "dropout":
                plan = replace(plan, dropout=mitigation)
            case "spectral-norm":
                plan = replace(plan, spectral_bound=mitigation.bound)
            case "augmentation":
                plan = replace(plan, augmentation=mitigation)
            case "early-stopping":
                plan = replace(plan, early_stopping=mitigation)
            case "dp-sgd":
                plan = replace(plan, privacy=mitigation)
    return plan
