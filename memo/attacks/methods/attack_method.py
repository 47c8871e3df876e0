"""The form of an attack."""

from collections.abc import Callable
from dataclasses import dataclass

from memo.attacks.references import References
from memo.scores.aggregate import FloatArray


@dataclass(frozen=True)
class Attack:
    """A score of membership, higher the more a record looks like one that was trained on."""

    name: str
    """The key in results."""
    label: str
    """The name on pages."""
    words: str
    """One sentence for readers: what the score is."""
    score: Callable[[FloatArray, References], FloatArray]
    """From log p of n records under the target, (n,) nats, NaN where it is not known, and the
    references, to scores, (n,). Those of a record without references on both sides are not used."""
