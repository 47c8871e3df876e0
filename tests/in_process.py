"""A project's stages run in this process: for tests of what they compute."""

from pathlib import Path

import polars as pl

from memo.artifacts.layout import Layout
from memo.execution.processes import InProcess
from memo.pipeline.prepare import prepare
from memo.pipeline.score import score
from memo.pipeline.stored_experiment import StoredExperiment, load_experiment
from memo.pipeline.train import train
from memo.project.reading import read_project

Scored = tuple[StoredExperiment, pl.DataFrame]


def load(folder: Path, name: str = "fast") -> StoredExperiment:
    """An experiment of a project whose data are prepared."""
    return load_experiment(read_project(folder / "params.yaml"), Layout(folder), name)


def scored_experiments(folder: Path, spec: str) -> dict[str, Scored]:
    """Prepare, train and score everything in a spec: each experiment with its scores."""
    (folder / "params.yaml").write_text(spec)
    project, layout = read_project(folder / "params.yaml"), Layout(folder)
    for name in project.datasets:
        prepare(project, layout, name)
    result = {}
    for name in project.experiments:
        experiment = load_experiment(project, layout, name)
        train(experiment, InProcess())
        result[name] = experiment, score(experiment, InProcess()).table
    return result
