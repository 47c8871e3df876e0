"""The spec of training."""

from typing import Literal, TypeAlias

from pydantic import Field

from memo.spec.base import Positive, Spec

Precision: TypeAlias = Literal["float32", "bfloat16"]


class TrainingSpec(Spec):
    """Minibatch training with Adam (Kingma & Ba 2015)."""

    epochs: Positive = Field(default=100, description="Passes over the training set.")
    batch_size: Positive = Field(
        default=64,
        description="Largest size of a minibatch; an epoch is cut into minibatches whose sizes "
        "differ by at most one observation.",
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="Adam's step size.")
    precision: Precision = Field(
        default="float32",
        description="Precision of matrix products and convolutions in training steps. Weights, "
        "losses and the optimizer stay in float32. bfloat16 rounds factors to 8 binary digits, "
        "and is faster on processors that support it.",
    )
