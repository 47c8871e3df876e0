"""report: scores -> reports/<experiment>/: metrics, plots, charts and a page."""

import json
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from memo.artifacts.files import ArtifactError, remove_leftovers, write_whole
from memo.artifacts.layout import Layout
from memo.artifacts.lock import locked
from memo.artifacts.text.csv_files import csv_bytes
from memo.experiments.log_likelihoods import scored_densities
from memo.experiments.page_contents import Results, page_contents
from memo.pipeline.stored_experiment import StoredExperiment
from memo.report.experiment_page import render_report
from memo.report.page_data import ReportData


def report(experiment: StoredExperiment) -> list[str]:
    """Write an experiment's report from the files of earlier stages; nothing is computed anew.

    Returns:
        Reasons not to trust it, as the page has them.

    Raises:
        ArtifactError: A file is missing, damaged, or from another spec.
    """
    samples = experiment.read_samples()
    neighbors, of_folds = experiment.read_neighbors(samples)
    results = Results(
        scores=experiment.read_scores(),
        log_likelihoods=[
            experiment.read_log_likelihoods(density) for density in scored_densities(experiment)
        ],
        losses=experiment.fold_losses(),
        samples=samples,
        neighbors=neighbors,
        numbers=of_folds,
        illustration=experiment.read_illustration(),
        attacked=experiment.read_attacks(),
        influence=experiment.read_influence(),
    )
    files = experiment.layout.scores(experiment.name), experiment.layout.attacks(experiment.name)
    data, numbers = page_contents(experiment, results, *map(str, files))
    with writing_report(experiment.layout, experiment.name, f"memo report {experiment.name}"):
        write_report(experiment.layout.report(experiment.name), data, numbers)
    return data.warnings


def write_report(folder: Path, data: ReportData, numbers: dict[str, Any]) -> list[Path]:
    """Write the page with its charts, the numbers that DVC shows, and the curves.

    Returns:
        The files.

    Raises:
        ArtifactError: A file cannot be written.
    """
    values = ["value", "low", "high"]
    quantiles = data.quantiles.pivot("statistic", index="epoch", values=values).rename(
        lambda name: re.sub("^(low|high)_(.*)", r"\2_\1", name.removeprefix("value_"))
    )
    files = {
        "metrics.json": (json.dumps(numbers, indent=2, allow_nan=False) + "\n").encode(),
        "losses.csv": csv_bytes(data.losses),
        "quantiles.csv": csv_bytes(quantiles),
        **render_report(data),
    }
    write_page(folder, files)
    return [folder / name for name in files]


def write_page(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a page with what belongs to it.

    Charts that only the page before it had are removed, and what a killed process has left half
    written.

    Raises:
        ArtifactError: A file cannot be written, or removed.
    """
    remove_leftovers(folder)
    before = _charts_of(folder / "index.html")
    for name, content in files.items():
        write_whole(folder / name, content)
    for name in before - files.keys():
        remove_file(folder / name)


def remove_file(file: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        ArtifactError: The disk refuses.
    """
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise ArtifactError(f"{file}: cannot be removed: {error.strerror or error}") from error


def writing_report(layout: Layout, name: str, doing: str) -> AbstractContextManager[None]:
    """Let nobody else write a report meanwhile.

    Raises:
        WorkError: Somebody does.
    """
    return locked(layout.lock("reports", name), doing)


def _charts_of(page: Path) -> set[str]:
    """Charts that a page links to, as paths from its folder; none where there is no page."""
    try:
        text = page.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    return set(re.findall(r'href="(charts/[a-z0-9-]+\.(?:svg|png))"', text))
