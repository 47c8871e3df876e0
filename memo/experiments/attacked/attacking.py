"""From an experiment's tables of log-likelihoods to what attacks find."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.artifacts.fingerprints import ATTACKS_VERSION, fingerprint
from memo.attacks.grouped import of_groups
from memo.attacks.membership import Attacked, Promise, attack_models, nothing_attacked
from memo.attacks.results import AttackResults
from memo.attacks.trained_models import TrainedModels
from memo.datasets.prepared import has_groups
from memo.design.together import numbered
from memo.experiments.experiment import Experiment
from memo.experiments.log_likelihoods import ScoredDensity, scored_densities
from memo.mitigations.kinds import in_order
from memo.mitigations.release import Densities, Release
from memo.mitigations.stored_facts import stored_values
from memo.scores.aggregate import FloatArray
from memo.scores.table import Scores
from memo.spec.scoring_specs import KFoldSpec, SubsetsSpec

CLOSED_FORM = (
    "the design leaves each observation out in closed form and trains no model without one, and "
    "membership is guessed of models that were trained on different observations; set "
    "scoring.design.kind: k-fold, with 2 repeats or more"
)
MADE_OF_SEVERAL = (
    "'{kind}' releases the density of several models together, which hold every observation "
    "between them, so that nothing says how often an observation is taken for a member that was "
    "none; attack the same experiment without it"
)
IN_PART = (
    "groups are not held out whole (scoring.design.together: nothing), so that a model may have "
    "trained on a part of one, and the question whether it is a member has no answer; leave "
    "`together` out"
)
ONE_REPEAT = (
    "there is one {what}, whose models depend on each other, and a model is attacked with models "
    "that do not depend on it; set scoring.design.{key}: {least} or more"
)


def attack_experiment(
    experiment: Experiment, tables: Sequence[pl.DataFrame], scores: Scores
) -> Attacked:
    """Attack each fold model in turn, at the last scored epoch.

    Args:
        experiment: Whose models are attacked.
        tables: Log-likelihoods under each of its `scored_densities`, as
            `estimate_log_likelihoods` yields them.
        scores: Its memorization scores, which risks are compared with.
    """
    epoch = experiment.last_epoch
    reason = why_not_attacked(experiment)
    if reason is not None:
        return nothing_attacked(epoch, reason)
    values = stored_values(scores.facts, experiment.name)
    promise = Promise(values["epsilon"], values["delta"]) if "epsilon" in values else None
    models, memorization = attacked_models(experiment, tables), scores.last.column("memorization")
    found = attack_models(models, experiment.data.observations, memorization, epoch, promise)
    groups = _attack_groups(experiment, models, memorization)
    return replace(found, results=found.results.model_copy(update={"of_groups": groups}))


def _attack_groups(
    experiment: Experiment, models: TrainedModels, memorization: FloatArray
) -> AttackResults | None:
    """Attack groups of the data set whole; None where it has none, or none of several records."""
    observations, epoch = experiment.data.observations, experiment.last_epoch
    if not has_groups(observations) or observations["group"].is_unique().all():
        return None
    if experiment.design.sets is None:
        return nothing_attacked(epoch, IN_PART).results
    own = numbered(observations["group"])
    names = observations["group"].unique(maintain_order=True)
    groups = pl.DataFrame({"index": np.arange(len(names)), "id": names}).with_columns(
        label=pl.lit(None, pl.String)
    )
    total = np.bincount(own, memorization).astype(np.float64)
    found = attack_models(of_groups(models, own), groups, total, epoch)
    return found.results.model_copy(update={"epsilon": None})


def why_not_attacked(experiment: Experiment) -> str | None:
    """The reason why there is nothing to attack, or to attack with, and what to set; or None."""
    if experiment.design.closed_form:
        return CLOSED_FORM
    models = experiment.scored_models()
    for mitigation in experiment.spec.mitigations:
        if type(mitigation.release(models) or Release()).scores is not Release.scores:
            return MADE_OF_SEVERAL.format(kind=mitigation.kind)
    densities = scored_densities(experiment)
    if len(np.unique(_kin(experiment, densities)[:, 0])) > 1:
        return None
    design = experiment.spec.scoring.design
    if isinstance(design, SubsetsSpec):
        least = design.share * 2
        return ONE_REPEAT.format(what="block of models", key="models", least=least)
    return ONE_REPEAT.format(what="repeat", key="repeats", least=2)


def attacked_models(experiment: Experiment, tables: Sequence[pl.DataFrame]) -> TrainedModels:
    """Log-likelihoods at the last scored epoch under what is released of each fold model.

    What mitigations leave out of a training set that the design would have it in is neither a
    member nor one that was held out, and is not used.

    Args:
        experiment: Whose models they are.
        tables: See `attack_experiment`.
    """
    densities = scored_densities(experiment)
    at = [table.filter(pl.col("epoch") == experiment.last_epoch) for table in tables]
    log_likelihood, std_error, held_out = (
        np.stack([table[column].to_numpy() for table in at])
        for column in ("log_likelihood", "std_error", "held_out")
    )
    block = np.array([density.block for density in densities], np.int64)
    models = experiment.scored_models()
    released = Densities(
        log_likelihood, std_error, held_out, block, experiment.spec.scoring.aggregate
    )
    for mitigation in in_order(experiment.spec.mitigations):
        step = mitigation.release(models)
        released = released if step is None else step.densities(released)
    index = np.arange(len(experiment.data))
    members = np.stack([np.isin(index, density.model.members) for density in densities])
    return TrainedModels(
        released.log_likelihood, members, _kin(experiment, densities), members | held_out
    )


def attacks_fingerprint(experiment: Experiment) -> str:
    """A hash of everything that determines what attacks find."""
    return fingerprint(
        {
            "densities": [
                density.fingerprint(experiment) for density in scored_densities(experiment)
            ],
            "mitigations": [m.model_dump() for m in experiment.spec.mitigations],
            "aggregate": experiment.spec.scoring.aggregate,
            "version": ATTACKS_VERSION,
        }
    )


def _kin(experiment: Experiment, densities: Sequence[ScoredDensity]) -> NDArray[np.int64]:
    """Labels that dependent models share, (models, labels); see `TrainedModels.kin`.

    Of repeats of K-fold their number. Of subsets the jackknife's block, whose models may draw
    random numbers in common; and the models of a round between which each observation is held out
    equally often, so that memberships in some tell of those in others.
    """
    folds = [density.model.fold for density in densities]
    design = experiment.spec.scoring.design
    if isinstance(design, KFoldSpec):
        return np.array([[fold.repeat] for fold in folds if fold is not None], np.int64)
    assert isinstance(design, SubsetsSpec)
    size, balanced = design.round_size, design.balanced
    return np.array(
        [
            [fold.block, fold.repeat * size + fold.fold // balanced]
            for fold in folds
            if fold is not None
        ],
        np.int64,
    )
