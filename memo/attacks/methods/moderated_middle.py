"""Above the middle of moderated means: what few reference models know of a record, and all others.

`middle` takes a record's two means as its references have them. With one or two references without
the record, their difference d is mostly noise. All records together tell how much true differences
vary: with d normal around the true difference, and that normal around m with variance t^2, which
the median and the spread of d give,

    difference = m + w (d - m),   w = t^2 / (t^2 + e),   e = s_in^2 / a + s_out^2 / b

of a references with and b without the record. What is left of d is shared out between the two means
in proportion to their variances, so that the mean of many references moves little and that of few
much (Gelman et al. 2013, section 5.4). No difference is moved by more than its own standard error:
a record that is memorized as no other is would be taken for noise (limited translation, Efron &
Morris 1972). With many references on both sides this is `middle`.
"""

import numpy as np

from memo.attacks.methods.attack_method import Attack
from memo.attacks.references import References
from memo.scores.aggregate import FloatArray

CENTRAL = (0.16, 0.84)
"""Quantiles that are two standard deviations apart, of a normal distribution; those in the tails
are records that are memorized much more than others, which say nothing of these."""

MOST = 1.0
"""Standard errors by which a difference is moved at most."""


def moderated_means(references: References) -> tuple[FloatArray, FloatArray]:
    """Means of log p with and without each record, (n,) nats, as the module's docstring says."""
    spread_in, spread_out = references.variances
    with np.errstate(divide="ignore", invalid="ignore"):  # of a record without references
        error_in, error_out = spread_in / references.count_in, spread_out / references.count_out
        error = error_in + error_out
        difference = references.mean_in - references.mean_out
        there = np.isfinite(difference)
        low, centre, high = np.quantile(difference[there], (CENTRAL[0], 0.5, CENTRAL[1]))
        prior = max(float(np.square((high - low) / 2) - error[there].mean()), 0.0)
        rest = (difference - centre) * error / (prior + error)
        rest = np.clip(rest, -MOST * np.sqrt(error), MOST * np.sqrt(error))
        return (
            references.mean_in - rest * error_in / error,
            references.mean_out + rest * error_out / error,
        )


def above_moderated_middle(log_p: FloatArray, references: References) -> FloatArray:
    """Distance from the middle of the two means, (n,) nats."""
    inside, outside = moderated_means(references)
    return np.asarray(log_p - (inside + outside) / 2)


MODERATED = Attack(
    "middle-moderated",
    "Above the moderated middle",
    "log p less the middle of its means under models with and without the record, which are drawn "
    "towards what all records lead to expect.",
    above_moderated_middle,
)
