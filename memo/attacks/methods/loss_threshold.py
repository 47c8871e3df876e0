"""The loss alone (Yeom et al. 2018): what is likely is called a member. It needs no references."""

from memo.attacks.methods.attack_method import Attack
from memo.attacks.references import References
from memo.scores.aggregate import FloatArray


def loss_threshold(log_p: FloatArray, references: References) -> FloatArray:
    """log p as it stands, (n,) nats."""
    return log_p


LOSS = Attack(
    "loss-threshold",
    "log p alone",
    "log p under the target, without any reference model.",
    loss_threshold,
)
