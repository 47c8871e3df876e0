"""What an experiment is: the Pydantic models behind params.yaml."""

from memo.spec.base import Spec
from memo.spec.datasets import DatasetSpec, DigitsSpec
from memo.spec.models import MLPSpec, ModelSpec, NetworkSpec, ObservationSpec, VAESpec
from memo.spec.project import ExperimentSpec, ProjectSpec
from memo.spec.read import SpecError, read_project, select_dataset, select_experiment, spec_schema
from memo.spec.scoring import DesignSpec, ImportanceSpec, KFoldSpec, LikelihoodSpec, ScoringSpec
from memo.spec.training import LearningRateSpec, MitigationSpec, TrainingSpec

__all__ = [
    "DatasetSpec",
    "DesignSpec",
    "DigitsSpec",
    "ExperimentSpec",
    "ImportanceSpec",
    "KFoldSpec",
    "LearningRateSpec",
    "LikelihoodSpec",
    "MLPSpec",
    "MitigationSpec",
    "ModelSpec",
    "NetworkSpec",
    "ObservationSpec",
    "ProjectSpec",
    "ScoringSpec",
    "Spec",
    "SpecError",
    "TrainingSpec",
    "VAESpec",
    "read_project",
    "select_dataset",
    "select_experiment",
    "spec_schema",
]
