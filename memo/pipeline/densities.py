"""Under which densities observations are scored, and each one's table of log-likelihoods."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from memo.artifacts.files import ArtifactError
from memo.artifacts.fingerprints import fingerprint
from memo.artifacts.model_files import ModelFile, fold_file, full_model_file
from memo.artifacts.tables import LOG_LIKELIHOODS, read_table, require_keys, write_table
from memo.artifacts.versions import SCORING_VERSION
from memo.design.k_fold import IndexArray
from memo.pipeline.experiment import Experiment

__all__ = [
    "ScoredDensity",
    "log_likelihoods_problem",
    "read_log_likelihoods",
    "scored_densities",
    "write_log_likelihoods",
]


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


def read_log_likelihoods(experiment: Experiment, density: ScoredDensity) -> pl.DataFrame:
    """The table of log-likelihoods under a density.

    Raises:
        ArtifactError: It is missing, damaged, or from another spec.
    """
    n, epochs = len(experiment.data), experiment.spec.scoring.epochs
    table, facts = read_table(density.table, LOG_LIKELIHOODS, n * len(epochs))
    if facts.get("fingerprint") != _fingerprint(experiment, density):
        raise ArtifactError(f"{density.table}: belongs to another spec")
    require_keys(density.table, table, n, epochs)
    held_out = np.tile(np.isin(np.arange(n), density.held_out), len(epochs))
    if not np.array_equal(table["held_out"].to_numpy(), held_out):
        raise ArtifactError(f"{density.table}: other observations are held out")
    return table


def log_likelihoods_problem(experiment: Experiment, density: ScoredDensity) -> str | None:
    """Why the table cannot be read; None where it can."""
    try:
        read_log_likelihoods(experiment, density)
    except ArtifactError as error:
        return str(error)
    return None


def write_log_likelihoods(
    experiment: Experiment, density: ScoredDensity, table: pl.DataFrame
) -> None:
    """Write the table of log-likelihoods under a density, whole or not at all.

    Raises:
        ArtifactError: The file cannot be written.
    """
    facts = {"fingerprint": _fingerprint(experiment, density)}
    write_table(density.table, table, LOG_LIKELIHOODS, facts)


def _fingerprint(experiment: Experiment, density: ScoredDensity) -> str:
    return fingerprint(
        {
            "fold": density.fingerprint,
            "epochs": experiment.spec.scoring.epochs,
            "likelihood": experiment.spec.scoring.likelihood.model_dump(),
            "version": SCORING_VERSION,
        }
    )


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
