"""Stages that write an experiment's files do so one at a time."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from memo.artifacts.lock import locked
from memo.pipeline.experiment import Experiment

__all__ = ["exclusive"]

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_Stage = Callable[Concatenate[Experiment, _Given], _Result]


def exclusive(stage: _Stage[_Given, _Result]) -> _Stage[_Given, _Result]:
    """The stage, which raises WorkError while another process works on the same experiment."""

    @wraps(stage)
    def alone(experiment: Experiment, /, *given: _Given.args, **named: _Given.kwargs) -> _Result:
        file = experiment.layout.lock("experiments", experiment.name)
        with locked(file, f"memo {stage.__name__} {experiment.name}"):
            return stage(experiment, *given, **named)

    return alone
