"""What the spec's training and mitigations come to."""

from dataclasses import dataclass, replace

from memo.spec import MitigationSpec, TrainingSpec

__all__ = ["TrainingPlan", "training_plan"]


@dataclass(frozen=True)
class TrainingPlan:
    """The settings of the training loop, mitigations applied."""

    epochs: int
    batch_size: int
    learning_rate: float


def training_plan(training: TrainingSpec, mitigations: list[MitigationSpec]) -> TrainingPlan:
    """Apply mitigations in the order of the spec."""
    plan = TrainingPlan(training.epochs, training.batch_size, training.learning_rate)
    for mitigation in mitigations:
        match mitigation.kind:
            case "learning-rate":
                plan = replace(plan, learning_rate=plan.learning_rate * mitigation.scale)
    return plan
