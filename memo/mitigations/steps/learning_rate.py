"""A scale and a schedule of the learning rate."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from memo.mitigations.mitigation import Mitigation
from memo.spec.base import Positive, Share, Spec

if TYPE_CHECKING:
    from memo.mitigations.training_plan import TrainingPlan


class CosineSpec(Spec):
    """Half a cosine from the learning rate down to a share of it."""

    kind: Literal["cosine"]
    final: float = Field(
        default=0.0, ge=0, lt=1, description="Share that would be reached after the last epoch."
    )

    def rate_factor(self, epoch: int, epochs: int) -> float:
        """Factor on the learning rate in an epoch, counted from 1; 1 in the first."""
        fall = (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2
        return self.final + (1 - self.final) * fall


class StepSpec(Spec):
    """The learning rate times `factor` after every so many epochs."""

    kind: Literal["step"]
    every: Positive = Field(description="Epochs between two changes.")
    factor: Share = Field(default=0.1, description="Factor of each change.")

    def rate_factor(self, epoch: int, epochs: int) -> float:
        """Factor on the learning rate in an epoch, counted from 1; 1 in the first."""
        return float(self.factor ** ((epoch - 1) // self.every))


ScheduleSpec: TypeAlias = Annotated[CosineSpec | StepSpec, Field(discriminator="kind")]


class LearningRateSpec(Mitigation):
    """Train with the learning rate times `scale`, on a schedule over epochs."""

    kind: Literal["learning-rate"]
    scale: float = Field(default=1.0, gt=0, description="Factor on `training.learning_rate`.")
    schedule: ScheduleSpec | None = Field(default=None, description="Constant when absent.")

    repeatable: ClassVar[bool] = True
    by_gradient: ClassVar[bool] = True

    def changed_plan(self, plan: "TrainingPlan") -> "TrainingPlan":
        """Scale the learning rate; of several schedules the last one counts."""
        return replace(
            plan,
            learning_rate=plan.learning_rate * self.scale,
            schedule=self.schedule or plan.schedule,
        )
