"""Plans of designs for so many observations: the one place that tells kinds of designs apart."""

from dataclasses import dataclass, field
from typing import Any, assert_never

import numpy as np

from memo.design.blocks import MOST_BLOCKS
from memo.design.k_fold import FoldModel, k_fold_models, pair_models
from memo.design.subsets import subset_models
from memo.design.together import Sets
from memo.errors import InputError
from memo.spec.scoring_specs import DesignSpec, KFoldSpec, LeaveOneOutSpec, SubsetsSpec


@dataclass(frozen=True)
class Design:
    """The models to train, and the origin of densities with and without an observation."""

    fold_models: list[FoldModel]
    """Models to train beside the full one, each without some observations."""
    closed_form: bool
    """True where the full model alone gives log p(x_i) with and without i, exactly."""
    determinants: dict[str, Any]
    """Settings that determine a fold model, which their number does not."""
    words: str
    """Description for people."""
    pairing: dict[str, Any]
    """Settings that determine the models of each jackknife block and their held-out indices."""
    more: str = ""
    """Advice on the setting that makes standard errors better known."""
    sets: Sets | None = None
    """Sets of observations that are held out together; None where each is on its own."""
    smaller_models: list[FoldModel] = field(default_factory=list)
    """Models of smaller training sets, which scores are extrapolated from and nothing else."""


def plan_design(spec: DesignSpec, observations: int, seed: int, sets: Sets | None = None) -> Design:
    """Plan a design for n observations.

    Args:
        spec: The design.
        observations: Number of observations, n.
        seed: Seed of the experiment.
        sets: Sets of observations that are held out together.

    Raises:
        InputError: There are too few observations, or sets.
    """
    match spec:
        case KFoldSpec():
            return _k_fold(spec, observations, seed, sets)
        case LeaveOneOutSpec():
            return Design(
                fold_models=[],
                closed_form=True,
                determinants=spec.model_dump(),
                words=f"each of the {observations:,} observations left out in turn: exact, in "
                "closed form from the model that is fitted to all of them",
                pairing=spec.model_dump(),
            )
        case SubsetsSpec():
            return _subsets(spec, observations, seed, sets)
        case _:
            assert_never(spec)


def _k_fold(spec: KFoldSpec, observations: int, seed: int, sets: Sets | None) -> Design:
    if spec.folds > observations:
        raise InputError(f"{spec.folds} folds are more than the {observations} observations")
    if sets is not None and spec.folds > sets.of.max() + 1:
        raise InputError(
            f"{spec.folds} folds are more than the {sets.of.max() + 1} {sets.what} that are held "
            "out whole"
        )
    determinants = _settings(spec, sets, "repeats", "first_repeat", "extrapolate")
    models = k_fold_models(spec, observations, seed, None if sets is None else sets.of)
    return Design(
        fold_models=models,
        closed_form=False,
        determinants=determinants,
        words=f"{spec.folds} folds, repeated {spec.repeats} times: {spec.folds * spec.repeats} "
        "models, each trained without one fold" + _in_words(sets),
        pairing=determinants
        if spec.repeats <= MOST_BLOCKS
        else _settings(spec, sets, "extrapolate"),
        more="Set scoring.design.repeats to 3 or more.",
        smaller_models=pair_models(models, spec.folds) if spec.extrapolate else [],
        sets=sets,
    )


def _subsets(spec: SubsetsSpec, observations: int, seed: int, sets: Sets | None) -> Design:
    models = subset_models(spec, observations, seed, None if sets is None else sets.of)
    times_held_out = np.bincount(
        np.concatenate([model.held_out for model in models]), minlength=observations
    )
    if times_held_out.min() == 0 or times_held_out.max() == len(models):
        raise InputError(
            f"{spec.models} models, each trained on a share of {spec.fraction:g}, do not leave "
            f"each observation with models on both sides (whole rounds of {spec.round_size} do), "
            f"of the {observations} observations"
        )
    return Design(
        fold_models=models,
        closed_form=False,
        determinants=_settings(spec, sets, "models"),
        words=f"{spec.models} models, each trained on a random subset of {spec.fraction:g} of the "
        f"observations; each observation is in the training sets of about "
        f"{round(spec.models * spec.fraction):,} of them" + _in_words(sets),
        pairing=_settings(spec, sets),
        more="Raise scoring.design.models.",
        sets=sets,
    )


def _settings(spec: KFoldSpec | SubsetsSpec, sets: Sets | None, *but: str) -> dict[str, Any]:
    """Settings of a design but some; of what is held out together, only what makes a difference."""
    settings = spec.model_dump(exclude={"together", "distance", *but})
    return settings if sets is None else settings | sets.determinants


def _in_words(sets: Sets | None) -> str:
    return "" if sets is None else f"; {sets.words}"
