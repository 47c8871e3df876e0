"""What an experiment is: the Pydantic models behind params.yaml."""

from memo.spec.base import Spec
from memo.spec.datasets import DatasetSpec, DigitsSpec
from memo.spec.models import (
    BernoulliSpec,
    ConvSpec,
    DiagonalGaussianSpec,
    FlowSpec,
    GaussianMixtureSpec,
    GaussianSpec,
    KDESpec,
    LogisticMixtureSpec,
    MLPSpec,
    ModelSpec,
    NetworkSpec,
    NormalSpec,
    ObservationSpec,
    VAESpec,
)
from memo.spec.project import ExperimentSpec, ProjectSpec
from memo.spec.read import SpecError, read_project, select_experiment, spec_schema
from memo.spec.scoring import DesignSpec, ImportanceSpec, KFoldSpec, LikelihoodSpec, ScoringSpec
from memo.spec.training import LearningRateSpec, MitigationSpec, TrainingSpec

__all__ = [
    "BernoulliSpec",
    "ConvSpec",
    "DatasetSpec",
    "DesignSpec",
    "DiagonalGaussianSpec",
    "DigitsSpec",
    "ExperimentSpec",
    "FlowSpec",
    "GaussianMixtureSpec",
    "GaussianSpec",
    "ImportanceSpec",
    "KDESpec",
    "KFoldSpec",
    "LearningRateSpec",
    "LikelihoodSpec",
    "LogisticMixtureSpec",
    "MLPSpec",
    "MitigationSpec",
    "ModelSpec",
    "NetworkSpec",
    "NormalSpec",
    "ObservationSpec",
    "ProjectSpec",
    "ScoringSpec",
    "Spec",
    "SpecError",
    "TrainingSpec",
    "VAESpec",
    "read_project",
    "select_experiment",
    "spec_schema",
]
