"""What a design comes to for so many observations: the one place that tells designs apart."""

from dataclasses import dataclass
from typing import Any, assert_never

from memo.design.k_fold import FoldModel, k_fold_models
from memo.errors import InputError
from memo.spec import DesignSpec, KFoldSpec, LeaveOneOutSpec

__all__ = ["Design", "plan_design"]


@dataclass(frozen=True)
class Design:
    """Which models are trained, and where densities with and without an observation come from."""

    fold_models: list[FoldModel]
    """Models to train beside the full one, each without some observations. Those of one `repeat`
    are one block of the jackknife."""
    closed_form: bool
    """Whether the full model alone gives log p(x_i) with and without i, exactly."""
    determinants: dict[str, Any]
    """What of the design determines a fold model: not how many of them there are."""
    words: str
    """For people."""


def plan_design(spec: DesignSpec, observations: int, seed: int) -> Design:
    """The models of a design, and what each must not see.

    Args:
        spec: The design.
        observations: n, how many observations there are.
        seed: The experiment's.

    Raises:
        InputError: There are too few observations.
    """
    match spec:
        case KFoldSpec():
            return _k_fold(spec, observations, seed)
        case LeaveOneOutSpec():
            return Design(
                fold_models=[],
                closed_form=True,
                determinants=spec.model_dump(),
                words=f"each of the {observations:,} observations left out in turn: exact, in "
                "closed form from the model that is fitted to all of them",
            )
        case _:
            assert_never(spec)


def _k_fold(spec: KFoldSpec, observations: int, seed: int) -> Design:
    if spec.folds > observations:
        raise InputError(f"{spec.folds} folds are more than the {observations} observations")
    return Design(
        fold_models=k_fold_models(spec, observations, seed),
        closed_form=False,
        determinants=spec.model_dump(exclude={"repeats", "first_repeat"}),
        words=f"{spec.folds} folds, repeated {spec.repeats} times: {spec.folds * spec.repeats} "
        "models, each trained without one fold",
    )
