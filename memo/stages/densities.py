"""Under which densities observations are scored: one table of log-likelihoods each."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from memo.artifacts import fingerprint
from memo.design import IndexArray
from memo.stages.experiment import Experiment
from memo.stages.model_files import ModelFile
from memo.stages.train import fold_file, full_model_file

__all__ = ["ScoredDensity", "scored_densities"]


@dataclass(frozen=True)
class ScoredDensity:
    """A trained model's density, or the one that it would be without each observation in turn."""

    table: Path
    """Where its log-likelihoods lie."""
    model: ModelFile
    held_out: IndexArray
    """Observations that it was not trained on."""
    block: int | None
    """Which densities belong together in the jackknife; None where nothing is drawn at random."""
    position: tuple[int, ...]
    """Keys the estimator's draws."""
    left_out: bool = False
    """Whether each observation's density is that of a fit to all others, in closed form."""

    @property
    def fingerprint(self) -> str:
        """A hash of everything that determines the density."""
        of_model = self.model.fingerprint
        return fingerprint({"left out of": of_model}) if self.left_out else of_model


def scored_densities(experiment: Experiment) -> list[ScoredDensity]:
    """Every density that enters an experiment's scores."""
    if experiment.design.closed_form:
        return _closed_form(experiment)
    return [
        ScoredDensity(
            table=experiment.layout.fold_log_likelihoods(experiment.name, m.repeat, m.fold),
            model=fold_file(experiment, m),
            held_out=m.held_out,
            block=m.block,
            position=(m.repeat, m.fold),
        )
        for m in experiment.fold_models()
    ]


def _closed_form(experiment: Experiment) -> list[ScoredDensity]:
    layout, name = experiment.layout, experiment.name
    file = full_model_file(experiment)
    everything = np.arange(len(experiment.data))
    return [
        ScoredDensity(layout.full_log_likelihoods(name), file, everything[:0], None, ()),
        ScoredDensity(
            layout.left_out_log_likelihoods(name), file, everything, None, (), left_out=True
        ),
    ]
