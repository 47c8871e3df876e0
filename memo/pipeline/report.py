"""report: scores -> reports/<experiment>/: metrics, plots, charts and a page."""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from memo.artifacts.files import remove_leftovers, write_whole
from memo.artifacts.layout import Layout
from memo.artifacts.lock import locked
from memo.artifacts.text.csv_files import csv_bytes
from memo.experiments.log_likelihoods import scored_densities
from memo.experiments.page_contents import Results, page_contents
from memo.pipeline.stored_experiment import StoredExperiment
from memo.report.experiment_page import render_report
from memo.report.page_data import ReportData


def report(experiment: StoredExperiment) -> None:
    """Write an experiment's report from the files of earlier stages; nothing is computed anew.

    Raises:
        ArtifactError: A file is missing, damaged, or from another spec.
    """
    samples = experiment.read_samples()
    folds = [model for model in experiment.models if model.fold is not None]
    results = Results(
        scores=experiment.read_scores(),
        log_likelihoods=[
            experiment.read_log_likelihoods(density) for density in scored_densities(experiment)
        ],
        losses=[experiment.read_losses(model) for model in folds or [experiment.full_model]],
        samples=samples,
        neighbors=experiment.read_neighbors(samples),
        illustration=experiment.read_illustration(),
    )
    file = experiment.layout.scores(experiment.name)
    data, numbers = page_contents(experiment, results, str(file))
    with writing_report(experiment.layout, experiment.name, f"memo report {experiment.name}"):
        write_report(experiment.layout.report(experiment.name), data, numbers)


def write_report(folder: Path, data: ReportData, numbers: dict[str, Any]) -> list[Path]:
    """Write the page with its charts, the numbers that DVC shows, and the curves.

    Returns:
        The files.

    Raises:
        ArtifactError: A file cannot be written.
    """
    quantiles = data.quantiles.pivot("statistic", index="epoch", values="value")
    files = {
        "metrics.json": (json.dumps(numbers, indent=2, allow_nan=False) + "\n").encode(),
        "losses.csv": csv_bytes(data.losses),
        "quantiles.csv": csv_bytes(quantiles),
        **render_report(data),
    }
    write_pages(folder, files)
    return [folder / name for name in files]


def write_pages(folder: Path, files: dict[str, bytes]) -> None:
    """Write a report's files; what a killed process has left half written is deleted first.

    Raises:
        ArtifactError: A file cannot be written.
    """
    remove_leftovers(folder)
    for name, content in files.items():
        write_whole(folder / name, content)


def writing_report(layout: Layout, name: str, doing: str) -> AbstractContextManager[None]:
    """Let nobody else write a report meanwhile.

    Raises:
        WorkError: Somebody does.
    """
    return locked(layout.lock("reports", name), doing)
