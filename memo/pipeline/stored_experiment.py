"""An experiment whose files lie in a project: which they are, and whether they hold."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.artifacts.attacked.attack_files import AttackFiles
from memo.artifacts.attacked.influence_files import InfluenceFile
from memo.artifacts.files import ArtifactError, remove_leftovers
from memo.artifacts.fingerprints import fingerprint
from memo.artifacts.layout import Layout
from memo.artifacts.lock import locked
from memo.artifacts.model_files import ModelFile
from memo.artifacts.neighbor_files import NeighborFile
from memo.artifacts.sample_files import SampleFile
from memo.artifacts.score_tables import read_scores_file
from memo.artifacts.tables import LOG_LIKELIHOODS, read_table, require_keys, write_table
from memo.artifacts.tensors import read_tensors
from memo.attacks.membership import Attacked
from memo.experiments.attacked.attacking import attacks_fingerprint
from memo.experiments.attacked.near_records import influence_fingerprint, pairs_of
from memo.experiments.density_illustration import illustration_of
from memo.experiments.experiment import Experiment, ModelPlan, plan_experiment
from memo.experiments.log_likelihoods import ScoredDensity
from memo.experiments.sampling import (
    PlannedSamples,
    planned_folds,
    planned_samples,
    tests_fingerprint,
    tests_of,
)
from memo.mitigations.stored_facts import stored_values
from memo.models.state import load_state
from memo.pipeline.prepare import read_prepared
from memo.pipeline.removal import with_removal
from memo.project.experiment_spec import ExperimentSpec
from memo.project.project_spec import ProjectSpec
from memo.project.reading import select_experiment
from memo.report.page_data import Illustration
from memo.samples.registered import NULLABLE, schema_of
from memo.scores.seen.fold_numbers import FoldNumbers
from memo.scores.table import Scores
from memo.spec.model_specs import CustomSpec
from memo.spec.user_code import read_code
from memo.training.stack import Weights


@dataclass(frozen=True)
class StoredExperiment(Experiment):
    """An experiment, and its files in a project.

    Args:
        layout: Where each kind of file lies.
    """

    layout: Layout = field(kw_only=True)

    def model_file(self, model: ModelPlan) -> ModelFile:
        """The file of a trained model."""
        return ModelFile(
            self.layout.model(self.name, model.name),
            model.fingerprint,
            self.spec.scoring.epochs,
            self._require_fit,
        )

    def read_weights(self, model: ModelPlan) -> dict[int, Weights]:
        """Read a trained model's weights, by scored epoch.

        Raises:
            ArtifactError: They are missing, damaged, or from another spec.
        """
        with made_by(f"memo train {self.name}"):
            return self.model_file(model).read().weights

    def read_losses(self, model: ModelPlan) -> NDArray[np.float64]:
        """Read a trained model's losses, as `ModelFile.read_losses`.

        Raises:
            ArtifactError: They are missing, damaged, or from another spec.
        """
        with made_by(f"memo train {self.name}"):
            return self.model_file(model).read_losses()

    def fold_losses(self) -> list[NDArray[np.float64]]:
        """Read the losses of each fold model; of the full model alone where there are no others.

        Raises:
            ArtifactError: They are missing, damaged, or from another spec.
        """
        folds = [model for model in self.models if model.fold is not None]
        return [self.read_losses(model) for model in folds or [self.full_model]]

    def table_file(self, density: ScoredDensity) -> Path:
        """The file of a density's log-likelihoods."""
        return self.layout.log_likelihoods(self.name) / f"{density.name}.parquet"

    def read_log_likelihoods(
        self, density: ScoredDensity, file: Path | None = None
    ) -> pl.DataFrame:
        """Read the log-likelihoods under a density, from its own file or another.

        Raises:
            ArtifactError: They are missing, damaged, or from another spec.
        """
        file = self.table_file(density) if file is None else file
        n, epochs = len(self.data), self.spec.scoring.epochs
        with made_by(f"memo score {self.name}"):
            table, facts = read_table(file, LOG_LIKELIHOODS, n * len(epochs))
            if facts.get("fingerprint") != density.fingerprint(self):
                raise ArtifactError(f"{file}: belongs to another spec")
            require_keys(file, table, n, epochs)
            held_out = np.tile(np.isin(np.arange(n), density.held_out), len(epochs))
            if not np.array_equal(table["held_out"].to_numpy(), held_out):
                raise ArtifactError(f"{file}: other observations are held out")
        return table

    def write_log_likelihoods(self, density: ScoredDensity, table: pl.DataFrame) -> None:
        """Write the log-likelihoods under a density, whole or not at all.

        Raises:
            ArtifactError: The file cannot be written.
        """
        facts = {"fingerprint": density.fingerprint(self)}
        write_table(self.table_file(density), table, LOG_LIKELIHOODS, facts)

    def read_scores(self) -> Scores:
        """Read the scores.

        Raises:
            ArtifactError: They are missing, damaged, or not of this experiment's data and epochs.
        """
        file = self.layout.scores(self.name)
        n, epochs = len(self.data), self.spec.scoring.epochs
        with made_by(f"memo score {self.name}"):
            scores = read_scores_file(file)
            stored_values(scores.facts, file)
            if scores.facts.get("data") != self.data_hash or len(scores.table) != n * len(epochs):
                raise ArtifactError(f"{file}: belongs to another spec")
            require_keys(file, scores.table, n, epochs)
        return scores

    def sample_file(self, planned: PlannedSamples) -> SampleFile:
        """The file of a model's samples."""
        return SampleFile(
            self.layout.samples(self.name) / f"{planned.model.name}.safetensors",
            planned.fingerprint,
            (planned.count, *self.data.shape),
        )

    def read_samples(self) -> NDArray[Any] | None:
        """Read the full model's samples; None of a model that cannot be sampled from.

        Raises:
            ArtifactError: They are missing, damaged, or from another spec.
        """
        return self._read_samples(planned_samples(self)[-1])

    def read_planned(self, planned: PlannedSamples) -> NDArray[Any]:
        """Read samples of a model that can be sampled from.

        Raises:
            ArtifactError: They are missing, damaged, or from another spec.
        """
        samples = self._read_samples(planned)
        if samples is None:
            raise ArtifactError(f"{self.sample_file(planned).path}: holds no samples")
        return samples

    def _read_samples(self, planned: PlannedSamples) -> NDArray[Any] | None:
        upgrade = (
            "a dvc.yaml without a stage `sample` is of an earlier memo: run memo upgrade first"
        )
        with made_by(f"memo sample {self.name} ({upgrade})"):
            return self.sample_file(planned).read()

    def neighbor_file(self, samples: NDArray[Any] | None) -> NeighborFile:
        """The file of the tests on these samples."""
        tests = tests_of(self)
        return NeighborFile(
            self.layout.neighbors(self.name),
            tests_fingerprint(self),
            schema_of(tests),
            NULLABLE,
            observations=0 if samples is None else len(self.data),
            samples=0 if samples is None else len(samples),
            models=len(planned_folds(self)),
            numbers={test.name: test.numbers for test in tests if test.judge is not None},
        )

    def read_neighbors(self, samples: NDArray[Any] | None) -> tuple[pl.DataFrame, FoldNumbers]:
        """Read the results of the tests on these samples, and their numbers on fold models.

        Raises:
            ArtifactError: They are missing, damaged, or from another spec or other tests.
        """
        with made_by(f"memo neighbors {self.name}"):
            return self.neighbor_file(samples).read_all()

    def attack_files(self) -> AttackFiles:
        """The files of attacks on the fold models."""
        return AttackFiles(
            self.layout.attacks(self.name),
            self.layout.attack_results(self.name),
            attacks_fingerprint(self),
        )

    def read_attacks(self) -> Attacked:
        """Read the results of attacks on the fold models.

        Raises:
            ArtifactError: They are missing, damaged, or from another spec.
        """
        upgrade = (
            "a dvc.yaml without a stage `attack` is of an earlier memo: run memo upgrade first"
        )
        with made_by(f"memo attack {self.name} ({upgrade})"):
            return self.attack_files().read()

    def influence_file(self) -> InfluenceFile:
        """The file of the influence of near records on each other."""
        return InfluenceFile(
            self.layout.influence(self.name),
            influence_fingerprint(self),
            len(self.data),
            pairs_of(self),
        )

    def read_influence(self) -> pl.DataFrame:
        """Read the influence of near records on each other.

        Raises:
            ArtifactError: It is missing, damaged, or from another spec.
        """
        with made_by(f"memo attack {self.name}"):
            return self.influence_file().read()

    def read_illustration(self) -> Illustration | None:
        """Read densities with and without an observation; None where none can be drawn.

        Raises:
            ArtifactError: They are missing, damaged, or from another spec.
        """
        file = self.layout.illustration(self.name)
        with made_by(f"memo score {self.name}"):
            tensors = read_tensors(file)
            if tensors.facts.get("fingerprint") != self.illustration_fingerprint():
                raise ArtifactError(f"{file}: belongs to another spec")
            try:
                return illustration_of(tensors.arrays, tensors.facts)
            except ValueError as error:
                raise ArtifactError(f"{file}: {error}") from None

    def illustration_fingerprint(self) -> str:
        """A hash of everything that determines the illustration."""
        scoring = self.spec.scoring
        return fingerprint(
            {
                "models": [model.fingerprint for model in self.models],
                "epochs": scoring.epochs,
                "likelihood": scoring.likelihood.model_dump(),
                "aggregate": scoring.aggregate,
                "mitigations": [m.model_dump() for m in self.spec.mitigations],
            }
        )

    def _require_fit(self, weights: dict[str, NDArray[Any]]) -> None:
        load_state(self.blank_model, weights)


@contextmanager
def made_by(command: str) -> Iterator[None]:
    """Say in errors about a file which command makes it anew."""
    try:
        yield
    except ArtifactError as error:
        raise ArtifactError(f"{error}; run: {command}") from None


def load_experiment(project: ProjectSpec, layout: Layout, name: str) -> StoredExperiment:
    """Load the experiment of that name with its prepared data.

    Raises:
        SpecError: There is no such experiment.
        ArtifactError: Its data set is not prepared, or damaged; or the experiment whose most
            memorized observations it removes is not scored.
        InputError: The data set is too small for the design, or has categories that the model or a
            mitigation cannot have; or code of the user's own is missing.
    """
    spec = with_source(project, layout, select_experiment(project, name))
    data, data_hash = read_prepared(layout, spec.dataset)
    if "copies" not in data.facts and any(m.kind == "deduplicate" for m in spec.mitigations):
        stage = "prepare-files" if spec.dataset in project.files else "prepare"
        raise ArtifactError(
            f"{layout.prepared(spec.dataset)}: was prepared by an earlier memo, without the values "
            "that `deduplicate` compares; run: dvc repro --force --single-item "
            f"{stage}@{spec.dataset}"
        )
    planned = plan_experiment(name, with_removal(spec, layout, data_hash), data, data_hash)
    own = {part.name: getattr(planned, part.name) for part in fields(Experiment)}
    return StoredExperiment(**own, layout=layout)


def with_source(project: ProjectSpec, layout: Layout, spec: ExperimentSpec) -> ExperimentSpec:
    """Give a model of the user's own its code, to be the same wherever it is built.

    Raises:
        CodeError: The code is missing or cannot be read.
    """
    model = spec.model
    if not isinstance(model, CustomSpec):
        return spec
    source = read_code(layout.root, model.code, model.target)
    loaded = model.loaded(source, project.datasets[spec.dataset].support)
    return spec.model_copy(update={"model": loaded})


_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_Stage = Callable[Concatenate[StoredExperiment, _Given], _Result]


def exclusive(stage: _Stage[_Given, _Result]) -> _Stage[_Given, _Result]:
    """Make a stage raise WorkError while another process writes files of the same experiment.

    What a killed one has left half written is deleted first, lest DVC takes it for a result.
    """

    @wraps(stage)
    def alone(
        experiment: StoredExperiment, /, *given: _Given.args, **named: _Given.kwargs
    ) -> _Result:
        file = experiment.layout.lock("experiments", experiment.name)
        with locked(file, f"memo {stage.__name__} {experiment.name}"):
            for path in experiment.layout.results(experiment.name):
                remove_leftovers(path)
            return stage(experiment, *given, **named)

    return alone
