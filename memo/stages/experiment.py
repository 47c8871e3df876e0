"""An experiment with its data: what every stage after prepare starts from."""

from dataclasses import dataclass
from typing import Any

from memo.artifacts import Layout, fingerprint
from memo.datasets import Prepared
from memo.design import Design, FoldModel, plan_design
from memo.errors import InputError
from memo.spec import ExperimentSpec, ProjectSpec, select_experiment
from memo.stages.prepare import read_prepared
from memo.training import TRAINING_VERSION

__all__ = ["Experiment", "load_experiment"]


@dataclass(frozen=True)
class Experiment:
    """A spec, the observations that it is about, and where its files lie."""

    name: str
    spec: ExperimentSpec
    layout: Layout
    data: Prepared
    data_hash: str
    design: Design

    def fold_models(self) -> list[FoldModel]:
        """The models of the design, and what each must not see."""
        return self.design.fold_models

    def scored_epoch(self, epoch: int | None) -> int:
        """The epoch, or the last one scored for None.

        Raises:
            InputError: It was not scored.
        """
        scored = self.spec.scoring.epochs
        if epoch is not None and epoch not in scored:
            words = ", ".join(map(str, scored))
            raise InputError(f"epoch {epoch} was not scored; scored are {words}")
        return epoch if epoch is not None else scored[-1]

    def fold_fingerprint(self, model: FoldModel) -> str:
        """A hash of everything that determines a fold model; the number of repeats does not."""
        return self._fingerprint(
            design=self.design.determinants, repeat=model.repeat, fold=model.fold
        )

    def full_fingerprint(self) -> str:
        """A hash of everything that determines the full model."""
        return self._fingerprint(full=True)

    def partitions_fingerprint(self) -> str:
        """The same for two experiments whose repeats cut the same observations alike."""
        return fingerprint(
            {
                "data": self.data_hash,
                "design": self.design.determinants,
                "seed": self.spec.seed,
            }
        )

    def _fingerprint(self, **position: Any) -> str:
        spec = self.spec
        return fingerprint(
            {
                "data": self.data_hash,
                "model": spec.model.model_dump(),
                "training": spec.training.model_dump(),
                "mitigations": [mitigation.model_dump() for mitigation in spec.mitigations],
                "seed": spec.seed,
                "version": TRAINING_VERSION,
                **position,
            }
        )


def load_experiment(project: ProjectSpec, layout: Layout, name: str) -> Experiment:
    """The experiment of that name with its prepared data.

    Raises:
        SpecError: There is no such experiment.
        ArtifactError: Its data set is not prepared, or damaged.
        InputError: The data set is too small for the design.
    """
    spec = select_experiment(project, name)
    data, data_hash = read_prepared(layout, spec.dataset)
    try:
        design = plan_design(spec.scoring.design, len(data), spec.seed)
    except InputError as error:
        raise InputError(
            f"experiments.{name}.scoring.design: {error} of data set {spec.dataset!r}"
        ) from None
    return Experiment(name, spec, layout, data, data_hash, design)
