"""What differentially private training promises, next to what the measured scores say of it."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from memo.artifacts.tables import Facts
from memo.experiments.experiment import Experiment
from memo.mitigations.specs import DPSGDSpec

__all__ = ["privacy_facts", "privacy_words"]


def privacy_facts(experiment: Experiment) -> Facts:
    """epsilon and delta at the last scored epoch, of the model that spends most; or nothing."""
    spec = _private(experiment)
    if spec is None:
        return {}
    from memo.training.private import epsilon_spent  # noqa: PLC0415 -- torch takes a second

    training = experiment.spec.training
    sizes = {len(experiment.training_members(m.held_out)) for m in experiment.design.fold_models}
    last = experiment.spec.scoring.epochs[-1]
    spent = max(
        epsilon_spent(spec, size, training.batch_size, training.epochs, last) for size in sizes
    )
    return {"epsilon": repr(spent), "delta": repr(spec.delta)}


def privacy_words(experiment: Experiment, scores: pl.DataFrame, facts: Facts) -> Iterator[str]:
    """Which bound holds, and which is only suggestive, and why.

    Args:
        experiment: The experiment.
        scores: At its last epoch.
        facts: Those of the scores.
    """
    if "epsilon" not in facts:
        return
    epsilon, delta = float(facts["epsilon"]), float(facts["delta"])
    memorization = scores["memorization"].to_numpy()
    yield (
        f"Holds: each training is ({epsilon:.3g}, {delta:.2g})-differentially private about one "
        "observation more or less, by Opacus' Rényi accountant. That is a bound on what any "
        "attacker can tell, whatever the scores are."
    )
    words = (
        f"Only suggestive: with delta = 0, no leave-one-out score could be above epsilon; "
        f"{int((memorization > epsilon).sum()):,} of {len(scores):,} scores are, and the largest "
        f"is {memorization.max():.3g} nats. But delta is not 0, "
    )
    if _is_density(experiment):
        words += "and a density has no upper bound, so that none follows for its logarithm; "
    else:
        bound = np.logaddexp(epsilon, np.log(delta) - scores["log_p_out"].to_numpy())
        words += (
            "and the bound is then log(exp epsilon + delta / p), p the probability without the "
            f"observation: {np.median(bound):.3g} nats for the median observation, since "
            "probabilities of whole observations are far below delta; "
        )
    yield words + (
        "and these scores are estimates, from models that differ by a whole fold instead of one "
        "observation. Scores below epsilon do not confirm the guarantee; scores above do not "
        "refute it."
    )


def _is_density(experiment: Experiment) -> bool:
    """Whether p is a density, and not a probability: some of the values are real numbers."""
    columns = experiment.data.columns
    if columns is None:
        return experiment.spec.model.support == "continuous"
    return any(column.categories is None for column in columns)


def _private(experiment: Experiment) -> DPSGDSpec | None:
    found = (m for m in experiment.spec.mitigations if isinstance(m, DPSGDSpec))
    return next(found, None)
