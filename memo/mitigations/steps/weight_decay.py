"""Decoupled weight decay."""

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from memo.mitigations.mitigation import Mitigation

if TYPE_CHECKING:
    from memo.mitigations.training_plan import TrainingPlan


class WeightDecaySpec(Mitigation):
    """Shrink weights by the learning rate times `decay` at each step (Loshchilov & Hutter 2019).

    Matrices and convolution kernels; biases, normalizations and variances are left alone.
    """

    kind: Literal["weight-decay"]
    decay: float = Field(gt=0, description="The rate, lambda.")

    by_gradient: ClassVar[bool] = True

    def changed_plan(self, plan: "TrainingPlan") -> "TrainingPlan":
        """Set the optimizer's decay."""
        return replace(plan, weight_decay=self.decay)
