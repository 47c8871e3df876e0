"""Spec of training."""

from pydantic import Field

from memo.spec.base import Positive, Spec

__all__ = ["TrainingSpec"]


class TrainingSpec(Spec):
    """Minibatch training with Adam (Kingma & Ba 2015)."""

    epochs: Positive = Field(default=100, description="Passes over the training set.")
    batch_size: Positive = Field(
        default=64,
        description="The most observations a minibatch may have; an epoch is cut into minibatches "
        "whose sizes differ by at most one.",
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="Adam's step size.")
